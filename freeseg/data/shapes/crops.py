"""Objects and patches of ground cut out of Shapes scenes, as an image tower sees proposals.

Shapes: N crops, H W size of the scene, S side of a crop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from freeseg.data.shapes.scene import Scene, render_scene
from freeseg.data.shapes.textures import stuff_tiles
from freeseg.data.shapes.vocabulary import STUFF, categories
from freeseg.ops import mask_boxes, masked_crops

SCENES_PER_TILES = 100  # scenes that share the large textures of the ground
MIN_PIXELS = 24  # a segment with fewer shows nothing
CONTEXT = (1.0, 1.5)  # size of a crop with its surroundings, relative to the segment
STRIDE = 4  # pixels of a scene per cell of a proposal
SOFTNESS = (0.2, 0.8)  # blur of a proposal, in cells
WAVES = 0.2  # most noise of a proposal's cells, whose values are in 0..1
THRESHOLD = (0.35, 0.6)  # of a cell that belongs to a proposal


@dataclass(frozen=True)
class CropSet:
    """Crops of many scenes, each segment once alone and once with its surroundings.

    Attributes:
        masked: Uint8 RGB [N, 3, S, S]; what is outside of the segment has the fill colour.
        plain: Uint8 RGB [N, 3, S, S].
        classes: Int64 [N], places in `categories()`.
        scenes: Uint8 RGB [M, 3, S, S], whole scenes.
        captions: A sentence for each of the M scenes.
    """

    masked: Tensor
    plain: Tensor
    classes: Tensor
    scenes: Tensor
    captions: tuple[str, ...]


def cut_crops(
    num_scenes: int,
    *,
    seed: int,
    side: int,
    fill: tuple[float, float, float],
    exact: bool,
    scene_side: int = 128,
    without: Collection[str] = (),
) -> CropSet:
    """Renders scenes with all classes and cuts every segment out.

    Args:
        num_scenes: How many.
        seed: Scenes and crops follow from it alone.
        side: S.
        fill: RGB in 0..1 outside of a masked segment.
        exact: True cuts along the true masks; False moves their borders and boxes a little, as a
            model's proposals would be.
        scene_side: Of the rendered scenes.
        without: Names of classes that no scene shows.
    """
    number_of = {row.name: number for number, row in enumerate(categories())}
    masked, plain, classes, wholes, captions = [], [], [], [], []
    color = torch.tensor(fill).view(3, 1, 1) * 255
    for scene, generator in _scenes(num_scenes, seed, scene_side, without):
        image = torch.from_numpy(scene.image).permute(2, 0, 1).float()  # [3, H, W]
        full = torch.ones(1, *scene.ids.shape, dtype=torch.bool)
        wholes.append(_cut(image, full, mask_boxes(full), side))
        captions.append(scene.caption)
        for number, name in enumerate(scene.names, start=1):
            mask = scene.ids == number
            seen = torch.from_numpy(mask if exact else _proposal(generator, mask))[None]
            if int(seen.sum()) < MIN_PIXELS:
                continue
            masked.append(_cut(image - color, seen, mask_boxes(seen), side, color))
            box = _surroundings(generator, mask, is_stuff=name in STUFF)
            plain.append(_cut(image, full, torch.tensor(box)[None].float(), side))
            classes.append(number_of[name])
    return CropSet(
        masked=torch.cat(masked),
        plain=torch.cat(plain),
        classes=torch.tensor(classes),
        scenes=torch.cat(wholes),
        captions=tuple(captions),
    )


def _scenes(
    count: int, seed: int, side: int, without: Collection[str]
) -> Iterator[tuple[Scene, np.random.Generator]]:
    names = frozenset(row.name for row in categories()) - frozenset(without)
    for number in range(count):
        if number % SCENES_PER_TILES == 0:
            tiles = stuff_tiles(np.random.default_rng([seed, number]), 4 * side)
        generator = np.random.default_rng([seed, number, 1])
        yield render_scene(generator, tiles, side, names), generator


def _cut(
    image: Tensor, masks: Tensor, boxes: Tensor, side: int, fill: Tensor | float = 0.0
) -> Tensor:
    crops = masked_crops(image, masks, boxes, (side, side)) + fill
    return crops.round().clamp(0, 255).to(torch.uint8)  # [N, 3, S, S]


def _proposal(generator: np.random.Generator, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask as a model might predict it on a coarser grid: wavy, wider or not, a bit beside."""
    shift = generator.integers(-1, 2, 2)
    moved = np.roll(mask, shift, axis=(0, 1)).astype(np.float32)
    size = mask.shape[1], mask.shape[0]
    coarse = cv2.resize(moved, (size[0] // STRIDE, size[1] // STRIDE), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (0, 0), float(generator.uniform(*SOFTNESS)))
    coarse += generator.normal(0, generator.uniform(0, WAVES), coarse.shape).astype(np.float32)
    fine = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    near = cv2.dilate(moved, np.ones((2 * STRIDE + 1, 2 * STRIDE + 1), np.uint8)) > 0
    found = (fine > generator.uniform(*THRESHOLD)) & near
    return found if found.any() else mask


def _surroundings(
    generator: np.random.Generator, mask: npt.NDArray[np.bool_], *, is_stuff: bool
) -> list[int]:
    """A box (x0, y0, x1, y1): the segment and some of what is around it, or a patch of ground."""
    side = len(mask)
    if is_stuff:  # its box would show whatever stands on it: a window of it that is mostly free
        rows, columns = np.nonzero(mask)
        middle = int(generator.integers(len(rows)))
        half = int(generator.integers(side // 16, side // 5))
        x, y = int(columns[middle]), int(rows[middle])
        return [max(0, x - half), max(0, y - half), min(side, x + half), min(side, y + half)]
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    more = (generator.uniform(*CONTEXT) - 1) / 2
    left, top = round(more * width), round(more * height)
    right, bottom = min(side, x + width + left), min(side, y + height + top)
    return [max(0, x - left), max(0, y - top), right, bottom]

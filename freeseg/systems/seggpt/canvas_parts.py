"""Parts of a training canvas, in bytes: halves with their masks, and what they are together.

Shapes: M masks, S side of a square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.systems.seggpt.masking import uniform, whole
from freeseg.systems.seggpt.painting import nearest, paint

CROP_TRIES = 10  # of a crop, until it fits

Box = tuple[int, int, int, int]  # top, left, height, width


@dataclass(frozen=True, eq=False)
class Half:
    """An example or a query.

    Attributes:
        image: uint8 [3, S, S].
        masks: Bool [M, S, S].
        ids: int64 [M]; masks of one id have one colour.
        is_void: Bool [S, S], pixels without annotation.
    """

    image: Tensor
    masks: Tensor
    ids: Tensor
    is_void: Tensor

    @classmethod
    def in_grid(cls, halves: Sequence[Half]) -> Half:
        """A square number of halves in the place of one, made smaller, row by row."""
        if len(halves) == 1:
            return halves[0]
        across, side = math.isqrt(len(halves)), halves[0].image.shape[-1]
        edges = [round(number * side / across) for number in range(across + 1)]
        image, is_void = torch.empty_like(halves[0].image), torch.empty_like(halves[0].is_void)
        masks = []
        for number, half in enumerate(halves):
            row, column = divmod(number, across)
            rows, columns = slice(*edges[row : row + 2]), slice(*edges[column : column + 2])
            size = (rows.stop - rows.start, columns.stop - columns.start)
            image[:, rows, columns] = smooth(half.image, size)
            is_void[rows, columns] = nearest(half.is_void[None], size)[0]
            placed = torch.zeros_like(half.masks)
            placed[:, rows, columns] = nearest(half.masks, size)
            masks.append(placed)
        return cls(image, torch.cat(masks), torch.cat([half.ids for half in halves]), is_void)


@dataclass(frozen=True, eq=False)
class CanvasPixels:
    """An example over a query, 2S x S.

    Attributes:
        image: uint8 [3, 2S, S].
        target: uint8 [3, 2S, S], the masks in their colours.
        is_painted: Bool [2S, S], in a mask.
        is_void: Bool [2S, S], without annotation.
    """

    image: Tensor
    target: Tensor
    is_painted: Tensor
    is_void: Tensor

    @classmethod
    def of(cls, example: Half, query: Half, colours: Tensor) -> CanvasPixels:
        """Paints both halves by one book: the n-th id of them has the n-th colour.

        Where masks overlap, what is smaller in both halves together lies on top.
        """
        ids, places = torch.cat([example.ids, query.ids]).unique(return_inverse=True)
        areas = torch.cat([half.masks.flatten(1).sum(1) for half in (example, query)])
        totals = torch.zeros(len(ids), dtype=torch.int64).index_add(0, places, areas)
        targets = []
        for half, rows in zip((example, query), places.split([len(example.ids), len(query.ids)])):
            order = totals[rows].argsort(descending=True, stable=True)
            size = (half.image.shape[-2], half.image.shape[-1])
            targets.append(paint(half.masks[order], colours[rows[order]], size))
        painted = [half.masks.any(0) for half in (example, query)]
        voids = [half.is_void & ~mask for half, mask in zip((example, query), painted)]
        return cls(
            torch.cat([example.image, query.image], dim=1),
            torch.cat(targets, dim=1),
            torch.cat(painted),
            torch.cat(voids),
        )

    @property
    def size(self) -> tuple[int, int]:
        """(2S, S)."""
        return self.image.shape[-2], self.image.shape[-1]

    def cropped(self, box: Box) -> CanvasPixels:
        """A part of it at the size of the whole."""
        top, left, height, width = box
        rows, columns = slice(top, top + height), slice(left, left + width)
        flags = torch.stack([self.is_painted, self.is_void])[:, rows, columns]
        return CanvasPixels(
            smooth(self.image[:, rows, columns], self.size),
            nearest(self.target[:, rows, columns], self.size),
            *nearest(flags, self.size),
        )


def crop_box(
    size: tuple[int, int],
    scale: tuple[float, float],
    aspect: tuple[float, float],
    generator: torch.Generator,
) -> Box:
    """A random part of a canvas; all of it where none is found that fits.

    Args:
        size: (height, width) of the canvas.
        scale: Least and largest share of its pixels.
        aspect: Least and largest ratio of width to height; drawn by its logarithm.
        generator: Of all chance.
    """
    height, width = size
    for _ in range(CROP_TRIES):
        area = height * width * uniform(*scale, generator)
        ratio = math.exp(uniform(math.log(aspect[0]), math.log(aspect[1]), generator))
        rows, columns = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            top, left = whole(height - rows + 1, generator), whole(width - columns + 1, generator)
            return top, left, rows, columns
    return 0, 0, height, width


def smooth(image: Tensor, size: tuple[int, int]) -> Tensor:
    """A photo uint8 [3, h, w] at a size: bicubic, smoothed where it shrinks, as Pillow has it."""
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image[None], size, mode="bicubic", antialias=True)[0]

"""Everything there is in a photo: points on a grid, and of the masks through them the good ones.

A mask is enlarged after its quality has passed, a few at a time, and at once becomes runs: what is
rejected never exists at the size of the photo.

Shapes: P points, K masks of each, N masks, h w size of their logits, H W size of a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from freeseg.inference.small_regions import without_small_regions
from freeseg.ops import mask_areas, nms
from freeseg.structures import EverythingSettings, Frame, InstanceSet, Runs, Size, Window

NEAR = 20.0  # pixels from a window's border at which a mask counts as cut off by it
_PIXELS_AT_ONCE = 2**22  # of enlarged masks


@dataclass(frozen=True, eq=False)
class Candidates:
    """Answers to a batch of points, of which only the qualities are known.

    Attributes:
        qualities: Float [P, K].
        logits: Gives logits of those that a bool mask [P, K] chooses, at least one, in its order,
            in parts [n, h, w].
    """

    qualities: Tensor
    logits: Callable[[Tensor], Iterator[Tensor]]


@dataclass(frozen=True, eq=False)
class PointedWindow:
    """A window of a photo that a system has encoded, and that can be pointed at.

    Attributes:
        frame: How the window lies in the photo.
        decode: Of points float64 [P, 2] in photo pixels.
        enlarge: Logits [N, h, w] at the size [N, H, W] of the window.
        points_at_once: Decoded together where the settings allow as many; None: as they say.
    """

    frame: Frame
    decode: Callable[[Tensor], Candidates]
    enlarge: Callable[[Tensor], Tensor]
    points_at_once: int | None = None

    def points(self, settings: EverythingSettings) -> Sequence[Tensor]:
        """The grid of a layer, in parts that are decoded together."""
        most = settings.points_per_batch
        grid = grid_points(settings, self.frame.window)
        return grid.split(min(self.points_at_once or most, most))

    def enlarged_at_once(self) -> int:
        """Masks whose logits may exist together at the size of the window."""
        left, top, right, bottom = self.frame.window
        return max(_PIXELS_AT_ONCE // ((right - left) * (bottom - top)), 1)


def windows_of(size: Size, settings: EverythingSettings) -> list[tuple[int, Window]]:
    """Layer and place of every window that is looked at, the whole photo first.

    Args:
        size: (height, width) of the photo.
        settings: Of its crops.
    """
    height, width = size
    found: list[tuple[int, Window]] = [(0, (0, 0, width, height))]
    for layer in range(1, settings.crop_layers + 1):
        parts = 2**layer
        overlap = int(settings.crop_overlap * min(size) * (2 / parts))
        columns, rows = (_spans(side, parts, overlap) for side in (width, height))
        found += [
            (layer, (left, top, right, bottom)) for left, right in columns for top, bottom in rows
        ]
    return found


def _spans(length: int, parts: int, overlap: int) -> list[tuple[int, int]]:
    """Where parts of one side begin and end, inside it."""
    part = math.ceil((overlap * (parts - 1) + length) / parts)
    starts = [number * (part - overlap) for number in range(parts)]
    return [(start, min(start + part, length)) for start in starts]


def grid_points(settings: EverythingSettings, window: Window) -> Tensor:
    """Points float64 [P, 2], (x, y) in photo pixels, that are looked at in a window of layer 0."""
    left, top, right, bottom = window
    if settings.point_grids is not None:
        grid = torch.as_tensor(settings.point_grids[0], dtype=torch.float64)
    else:
        count = settings.points_per_side
        # NumPy's steps, to the last bit: those of PyTorch come from both ends
        steps = torch.from_numpy(np.linspace(1 / (2 * count), 1 - 1 / (2 * count), count))
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        grid = torch.stack([columns, rows], dim=-1).flatten(0, 1)
    return grid * grid.new_tensor([right - left, bottom - top]) + grid.new_tensor([left, top])


def look_at_window(window: PointedWindow, settings: EverythingSettings) -> InstanceSet:
    """The masks of one window of a photo that no better one of it overlaps, best quality first.

    Args:
        window: That was encoded.
        settings: Those of its layer.

    Returns:
        Masks as `Runs` on the photo's grid; with their qualities, stabilities, points and windows.
    """
    found: list[InstanceSet] = []
    for points in window.points(settings):
        candidates = window.decode(points)
        qualities = candidates.qualities
        passed = torch.ones_like(qualities, dtype=torch.bool)
        if settings.min_quality > 0:
            passed = qualities > settings.min_quality
        if not passed.any():
            continue
        places = passed.nonzero()[:, 0].cpu()  # the point of each
        start = 0
        for logits in candidates.logits(passed):
            stop = start + len(logits)
            its = slice(start, stop)
            found += _reduced(logits, window, qualities[passed][its], points[places[its]], settings)
            start = stop
    joined = join_instances(found, window.frame.photo_size)
    assert joined.qualities is not None
    kept = nms(inclusive(joined.boxes), joined.qualities, settings.max_overlap)
    return select_instances(joined, kept)


def _reduced(
    logits: Tensor,
    window: PointedWindow,
    qualities: Tensor,
    points: Tensor,
    settings: EverythingSettings,
) -> Iterator[InstanceSet]:
    """The stable masks of logits [N, h, w] that the window does not cut off, a few at a time."""
    frame, at_once = window.frame, window.enlarged_at_once()
    for low, its_qualities, its_points in zip(
        logits.split(at_once), qualities.split(at_once), points.split(at_once)
    ):
        full = window.enlarge(low)
        stabilities = stability_of(full, settings.stability_margin)
        stable = torch.ones_like(stabilities, dtype=torch.bool)
        if settings.min_stability > 0:
            stable = stabilities >= settings.min_stability
        runs = Runs.of_masks((full > 0)[stable]).to("cpu").placed(frame.window, frame.photo_size)
        stable, boxes = stable.cpu(), runs.boxes()
        whole = ~is_cut_off(inclusive(boxes), frame)
        kept = its_qualities.float().cpu()[stable][whole]
        yield InstanceSet(
            masks=runs[whole],
            boxes=boxes[whole],
            labels=None,
            scores=kept.clamp(0, 1),
            qualities=kept,
            stabilities=stabilities.cpu()[stable][whole],
            points=its_points[stable][whole],
            windows=torch.tensor([frame.window]).expand(len(kept), -1),
        )


def stability_of(logits: Tensor, margin: float) -> Tensor:
    """Float [N]: pixels of logits [N, H, W] above the margin by those above minus the margin.

    NaN where there are none.
    """
    return mask_areas(logits > margin) / mask_areas(logits > -margin)


def inclusive(boxes: Tensor) -> Tensor:
    """Boxes [N, 4] whose last row and column lie inside; an empty one stays zeros.

    Parity: SAM's release compares such boxes, in which a mask of one column has no area.
    """
    return torch.cat([boxes[:, :2], (boxes[:, 2:] - 1).clamp(min=0)], dim=1)


def is_cut_off(boxes: Tensor, frame: Frame) -> Tensor:
    """Bool [N]: a side of a box lies at the window's border, where the photo goes on.

    Args:
        boxes: As `inclusive` gives them, in photo pixels.
        frame: Of the window.
    """
    height, width = frame.photo_size
    at_window = (boxes - boxes.new_tensor(frame.window)).abs() <= NEAR
    at_photo = (boxes - boxes.new_tensor([0, 0, width, height])).abs() <= NEAR
    return (at_window & ~at_photo).any(dim=1)


def join_windows(
    found: Sequence[InstanceSet], size: Size, settings: EverythingSettings
) -> InstanceSet:
    """The masks of all windows as one result, without doubles and small regions.

    Of masks that overlap that of the smaller window stays. Masks that have lost or gained small
    regions stand last, and give way to the others.

    Args:
        found: Of every window, in their order.
        size: (height, width) of the photo.
        settings: Of the whole.
    """
    joined = join_instances(found, size)
    if len(found) > 1 and len(joined):
        assert joined.windows is not None
        sides = (joined.windows[:, 2:] - joined.windows[:, :2]).float()
        kept = nms(inclusive(joined.boxes), 1 / sides.prod(1), settings.max_crop_overlap)
        joined = select_instances(joined, kept)
    if not settings.min_region_area or not len(joined):
        return joined
    assert isinstance(joined.masks, Runs)
    masks, changed = without_small_regions(joined.masks, settings.min_region_area)
    mended = replace(joined, masks=masks, boxes=masks.boxes())
    limit = max(settings.max_overlap, settings.max_crop_overlap)
    kept = nms(inclusive(mended.boxes), (~changed).float(), limit)
    return select_instances(mended, kept)


def join_instances(parts: Sequence[InstanceSet], size: Size) -> InstanceSet:
    """Those of several parts, whose masks are `Runs`; of none an empty set on a photo of (H, W)."""
    empty = InstanceSet(
        masks=Runs.joined([], size),
        boxes=torch.zeros(0, 4),
        labels=None,
        scores=torch.zeros(0),
        qualities=torch.zeros(0),
        stabilities=torch.zeros(0),
        points=torch.zeros(0, 2, dtype=torch.float64),
        windows=torch.zeros(0, 4, dtype=torch.int64),
    )
    runs = [part.masks for part in parts if isinstance(part.masks, Runs)]
    rows: dict[str, Any] = {
        name: torch.cat([value, *(getattr(part, name) for part in parts)])
        for name, value in vars(empty).items()
        if isinstance(value, Tensor)
    }
    return replace(empty, masks=Runs.joined(runs, size), **rows)


def select_instances(instances: InstanceSet, rows: Tensor) -> InstanceSet:
    """Some of them, by indices [K] or a bool mask [N]."""
    chosen: dict[str, Any] = {
        name: value[rows]
        for name, value in vars(instances).items()
        if isinstance(value, (Tensor, Runs))
    }
    return replace(instances, **chosen)

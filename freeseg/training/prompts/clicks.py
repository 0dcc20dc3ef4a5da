"""Clicks: on an object, and where a prediction of it is wrong.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from freeseg.structures.marks import ABSENT, OFF, ON
from freeseg.training.prompts.draws import (
    Generators,
    draw_whole,
    is_filled,
    pick_pixels,
    require_masks,
)

BoolMask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Clicks:
    """One click for each of N masks.

    Attributes:
        points: Float32 [N, 2], (x, y) of the centre of a pixel: (5.5, 3.5) in row 3, column 5.
        signs: Int64 [N]: `ON` the object, `OFF` it, or `ABSENT` where the mask is empty; the point
            is then (0, 0).
    """

    points: Tensor
    signs: Tensor


def sample_point(masks: Tensor, generator: Generators) -> Clicks:
    """A click on each mask, uniform among its pixels.

    Args:
        masks: Bool [N, H, W].
        generator: One, or one for each mask.
    """
    require_masks(masks)
    pixels = pick_pixels(masks, draw_whole(generator, masks, 1))[:, 0]  # [N, 2]
    return _clicks(pixels, masks)


def error_point(masks: Tensor, predicted: Tensor, generator: Generators | None) -> Clicks:
    """The next click on each object after a prediction of it.

    In training, with a generator, a point is uniform among the pixels that are wrong, as SAM has it
    (arXiv 2304.02643, appendix A): `ON` where they are missing, `OFF` where they are too many.
    Where nothing is wrong it is uniform in the mask. Without one, see `deepest_error_point`.

    Args:
        masks: Bool [N, H, W], the truth.
        predicted: Bool [N, H, W].
        generator: One, or one for each mask; None in evaluation.
    """
    if generator is None:
        return deepest_error_point(masks, predicted)
    _require_alike(masks, predicted)
    wrong = masks ^ predicted
    wrong = torch.where(is_filled(wrong)[:, None, None], wrong, masks)
    pixels = pick_pixels(wrong, draw_whole(generator, masks, 1))[:, 0]  # [N, 2]
    return _clicks(pixels, masks)


def deepest_error_point(masks: Tensor, predicted: Tensor, clicked: Tensor | None = None) -> Clicks:
    """The click of an evaluation: the pixel that lies deepest in what is wrong.

    As in RITM (arXiv 2102.06583): of what is missing and what is too much, the distance to the
    nearest pixel outside, or outside the photo, is computed; the click is where it is largest, the
    first in reading order among equals, and on what is too much where both are equal. Where nothing
    is wrong it is the deepest pixel of the mask. Computed on the CPU.

    Args:
        masks: Bool [N, H, W], the truth.
        predicted: Bool [N, H, W]; all False for the first click.
        clicked: Bool [N, H, W], pixels that are not clicked again; None: none.
    """
    _require_alike(masks, predicted)
    taken = torch.zeros_like(masks) if clicked is None else clicked
    _require_alike(masks, taken)
    rows = zip(*(each.cpu().numpy() for each in (masks, predicted, taken)))
    pixels = [_deepest_error(*row) for row in rows]
    return _clicks(torch.tensor(pixels, dtype=torch.int64).reshape(-1, 2).to(masks.device), masks)


def _deepest_error(mask: BoolMask, predicted: BoolMask, taken: BoolMask) -> tuple[int, int]:
    missing, extra = _depths(mask & ~predicted), _depths(predicted & ~mask)
    for depths in (missing, extra):
        depths[taken] = 0
    depths = missing if missing.max() > extra.max() else extra
    if not depths.any():
        depths = _depths(mask)
    row, column = np.unravel_index(depths.argmax(), depths.shape)
    return int(column), int(row)


def _depths(region: BoolMask) -> npt.NDArray[np.float32]:
    """Distance [H, W] of every pixel of a region to the nearest one outside, 0 outside."""
    depths = np.zeros(region.shape, dtype=np.float32)
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if len(rows):
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        framed = np.pad(region[box], 1).view(np.uint8)
        distances = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        depths[box] = distances[1:-1, 1:-1]
    return depths


def _clicks(pixels: Tensor, masks: Tensor) -> Clicks:
    """Clicks on pixels int64 [N, 2], (column, row)."""
    is_there = is_filled(masks)  # [N]
    column, row = pixels.unbind(1)
    is_on = masks[torch.arange(len(masks), device=masks.device), row, column]
    signs = torch.where(is_on, ON, OFF)
    return Clicks(
        torch.where(is_there[:, None], pixels + 0.5, 0.0), torch.where(is_there, signs, ABSENT)
    )


def _require_alike(masks: Tensor, other: Tensor) -> None:
    require_masks(masks)
    require_masks(other)
    if masks.shape != other.shape:
        raise ValueError(f"wanted masks of one shape, got {[*masks.shape]} and {[*other.shape]}")

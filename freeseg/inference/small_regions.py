"""Holes and islands of masks that are too small to be meant.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from freeseg.structures import Runs

BoolMask = npt.NDArray[np.bool_]


def without_small_regions(masks: Runs, min_area: int) -> tuple[Runs, Tensor]:
    """Masks with their holes of fewer pixels filled, and then their islands of fewer left out.

    Pixels that touch at a corner are of one region. Of a mask that is nothing but small islands the
    largest stays; what a photo's border cuts off of the outside counts as a hole.

    Returns:
        The masks, and bool [N], which have changed.
    """
    parts, changed = [], []
    for number, box in enumerate(masks.boxes().long().tolist()):
        mended = _mended(masks.mask(number).numpy(), box, min_area)
        changed.append(mended is not None)
        parts.append(
            masks[number] if mended is None else Runs.of_masks(torch.from_numpy(mended)[None])
        )
    return Runs.joined(parts, masks.size), torch.tensor(changed, dtype=torch.bool)


def _mended(mask: BoolMask, box: list[int], min_area: int) -> BoolMask | None:
    """The mask [H, W] without small regions; None where it has none.

    What lies outside the mask's box, and does not end at the photo's border, has `min_area` pixels
    in a margin of that width: nothing farther away matters.
    """
    left, top, right, bottom = box
    rows = slice(max(top - min_area, 0), bottom + min_area)
    columns = slice(max(left - min_area, 0), right + min_area)
    part = mask[rows, columns]
    holes = _small(~part, min_area)
    filled = part | (holes if holes is not None else False)
    islands = _small(filled, min_area, keeps_largest=True)
    if holes is None and islands is None:
        return None
    mended = mask.copy()
    mended[rows, columns] = filled & ~islands if islands is not None else filled
    return mended


def _small(region: BoolMask, min_area: int, *, keeps_largest: bool = False) -> BoolMask | None:
    """What lies in connected parts of fewer pixels; None where there is no such part."""
    _, numbers, figures, _ = cv2.connectedComponentsWithStats(region.view(np.uint8), 8)
    areas = figures[1:, cv2.CC_STAT_AREA]
    is_small = areas < min_area
    if not is_small.any():
        return None
    if keeps_largest and is_small.all():
        is_small[areas.argmax()] = False
    return np.asarray(np.concatenate([[False], is_small])[numbers])

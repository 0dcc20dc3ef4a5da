"""Masks of what is to change: their shapes, their windows, and how they grow.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]  # [H, W], or [N, H, W]
Window = tuple[slice, slice]  # rows and columns of a photo

DEFAULT_GROW = 8  # pixels: masks tend to end a little inside of what they show


def read_masks(masks: Mask, size: tuple[int, int]) -> Mask:
    """One mask or several as bool [N, H, W].

    Raises:
        ValueError: They are not bool, or not of the photo's size.
    """
    found = np.asarray(masks)
    if found.dtype != np.bool_:
        raise ValueError(f"wanted masks of bool, got {found.dtype}: mask > 0 makes one")
    if found.ndim not in (2, 3) or found.shape[-2:] != size:
        height, width = size
        raise ValueError(
            f"wanted masks [{height}, {width}] or [N, {height}, {width}] of the photo's size, "
            f"got {list(found.shape)}"
        )
    return found if found.ndim == 3 else found[None]


def grown(mask: Mask, pixels: int) -> Mask:
    """A mask [H, W] and all that is at most so many pixels away from it, in a straight line.

    Raises:
        ValueError: The number is negative.
    """
    if pixels < 0:
        raise ValueError(f"wanted masks grown by 0 pixels or more, got {pixels}")
    if not pixels or not mask.any():
        return mask.copy()
    window = window_around(mask, pixels)
    outside = (~mask[window]).astype(np.uint8)
    distances = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    result = np.zeros_like(mask)
    result[window] = distances <= pixels
    return result


def window_around(mask: Mask, *margins: int) -> Window:
    """The part of a photo that has a mask [H, W], which is not empty, and a margin, where it can.

    Args:
        mask: Of the photo.
        margins: In pixels: one for all sides, or of rows and of columns.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    row_margin, column_margin = margins[0], margins[-1]
    return (
        slice(max(top - row_margin, 0), min(top + height + row_margin, mask.shape[0])),
        slice(max(left - column_margin, 0), min(left + width + column_margin, mask.shape[1])),
    )

"""Region similarity J and contour accuracy F of an object on a frame, and their statistics.

Perazzi et al., CVPR 2016 (section 5), as DAVIS's evaluation counts them.

Shapes: H W frame size, N frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

MAX_DISTANCE = 0.008  # between boundaries that are the same, in diagonals of the frame
RECALLED = 0.5  # a frame is recalled above it

Mask = npt.NDArray[np.bool_]  # [H, W]


def region_similarity(found: Mask, truth: Mask) -> float:
    """J, intersection over union; 1 where both are empty."""
    union = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / union if union else 1.0


def contour_accuracy(found: Mask, truth: Mask) -> float:
    """F, the harmonic mean of what is near enough of either boundary to the other.

    1 where both boundaries are empty, 0 where one is: also a mask of all pixels has none.
    """
    drawn, true = boundary(found), boundary(truth)
    if not drawn.any() or not true.any():
        return float(drawn.any() == true.any())
    reach = math.ceil(MAX_DISTANCE * math.hypot(*truth.shape))
    precision = np.count_nonzero(drawn & widened(true, reach)) / np.count_nonzero(drawn)
    recall = np.count_nonzero(true & widened(drawn, reach)) / np.count_nonzero(true)
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def boundary(mask: Mask) -> Mask:
    """One pixel wide [H, W]: pixels unlike the one to the right, below, or below to the right.

    Beyond the frame is nothing to be unlike.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, across = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    found: Mask = (mask != right) | (mask != below) | (mask != across)
    return found


def widened(mask: Mask, reach: int) -> Mask:
    """The pixels [H, W] at most so many pixels away from one of a mask."""
    sides = np.arange(-reach, reach + 1) ** 2
    disk = (sides[:, None] + sides <= reach**2).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disk) > 0


def recall_of(values: Sequence[float]) -> float:
    """The share of frames [N] with more than one half."""
    return float(np.mean(np.asarray(values) > RECALLED))


def decay_of(values: Sequence[float]) -> float:
    """How much the mean of the first quarter of frames [N] is above that of the last one.

    Quarters share the frames between them, and are nearest to equal lengths. DAVIS's own evaluation
    keeps their ends in 8 bits, and is wrong beyond 256 frames; this is not.
    """
    last = len(values) - 1
    ends = [(quarter * last + 2) // 4 for quarter in range(5)]  # quarter / 4 of it, rounded
    first, final = (values[ends[place] : ends[place + 1] + 1] for place in (0, 3))
    return float(np.mean(first) - np.mean(final))

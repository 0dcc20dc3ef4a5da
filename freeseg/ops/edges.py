"""Makes edges one pixel wide: maxima across an edge of strengths, and thinning of bool masks.

Shapes: H W picture size.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

SMOOTHING = 4  # radius of the triangle under which an edge has one direction
TOLERANCE = 1.01  # of a plateau: a pixel stays unless it is that much weaker than its neighbour

Strengths = npt.NDArray[np.float32]
EdgeMask = npt.NDArray[np.bool_]

# of a pixel's eight neighbours, from the right one on, counterclockwise: (row, column)
_NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def ridges(strengths: Strengths) -> Strengths:
    """Strengths [H, W] where none across the edge is larger, one pixel away; 0 elsewhere.

    Across is the direction in which the smoothed strengths bend most.
    """
    strengths = np.asarray(strengths, dtype=np.float32)
    angle = _across(strengths)
    rows, columns = np.indices(strengths.shape, dtype=np.float32)
    kept = np.ones(strengths.shape, dtype=np.bool_)
    for step in (-1, 1):
        x, y = columns + step * np.cos(angle), rows + step * np.sin(angle)
        beside = cv2.remap(strengths, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        kept &= strengths * TOLERANCE >= beside
    return np.where(kept, strengths, np.float32(0))


def _across(strengths: Strengths) -> npt.NDArray[np.float32]:
    """The angle [H, W] of the main eigenvector of the second derivatives of what is smoothed."""
    sides = np.arange(1, SMOOTHING + 1, dtype=np.float32)
    triangle = np.concatenate([sides, [SMOOTHING + 1], sides[::-1]]) / (SMOOTHING + 1) ** 2
    smooth = cv2.sepFilter2D(strengths, -1, triangle, triangle, borderType=cv2.BORDER_REFLECT)
    down, right = np.gradient(smooth)
    down_down, down_right = np.gradient(down)
    right_right = np.gradient(right, axis=1)
    side = np.where(right_right + down_down > 0, 1, -1)  # of 0 that the larger eigenvalue lies on
    angle = 0.5 * np.arctan2(side * 2 * down_right, side * (right_right - down_down))
    return angle.astype(np.float32)


def thinned(mask: EdgeMask) -> EdgeMask:
    """What is left of a mask [H, W] when outer pixels are peeled off while it stays connected.

    Guo and Hall (1989), as MATLAB's ``bwmorph(mask, "thin", Inf)``: two passes are repeated until
    nothing changes.
    """
    left = np.asarray(mask, dtype=np.bool_).copy()
    while True:
        before = np.count_nonzero(left)
        for table in _removable():
            left &= ~table[_surroundings(left)]
        if np.count_nonzero(left) == before:
            return left


def _surroundings(mask: EdgeMask) -> npt.NDArray[np.uint8]:
    """Which of its neighbours every pixel has, [H, W]: bit k is the k-th."""
    height, width = mask.shape
    padded = np.pad(mask, 1).view(np.uint8)
    found = np.zeros(mask.shape, dtype=np.uint8)
    for bit, (row, column) in enumerate(_NEIGHBOURS):
        found |= padded[1 + row : 1 + row + height, 1 + column : 1 + column + width] << bit
    return found


@functools.cache
def _removable() -> tuple[EdgeMask, EdgeMask]:
    """Bool [256] for both passes: surroundings in which a pixel goes."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) % 2 == 1  # [256, 8]
    straight, corner = bits[:, ::2], bits[:, 1::2]  # right, above, left, below; after each
    following = np.roll(straight, -1, axis=1)
    crossings = (~straight & (corner | following)).sum(1)
    pairs = np.minimum((straight | corner).sum(1), (corner | following).sum(1))
    may_go = (crossings == 1) & (pairs >= 2) & (pairs <= 3)
    first, second = (
        may_go & ~((bits[:, at + 1] | bits[:, at + 2] | ~bits[:, at - 1]) & bits[:, at])
        for at in (0, 4)
    )
    return first, second

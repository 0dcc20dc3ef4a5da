"""Where captions go: inside their segment, never on each other.

Shapes: H W picture size, h w size of the coarse grid that places are sought on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from freeseg.visualization.drawn_segments import DrawnSegment
from freeseg.visualization.palette import Color
from freeseg.visualization.text import text_size

GRID_SIDE = 320  # longer side of the grid: finer ones find no better places
MIN_FONT_SIZE = 9  # below, letters are not legible
_FONT_SCALES = (1.0, 0.82, 0.68)
# Share of a caption's box that lies inside its segment: taken at once, and taken when nothing
# better is found at any size.
_GOOD_COVER = 0.93
_ENOUGH_COVER = 0.62

FloatGrid = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Caption:
    """A text and the box around it, in pixels of the picture."""

    text: str
    color: Color
    font_size: int
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class _Place:
    cover: float
    row: int  # of the box's top left corner, on the grid
    column: int


def place_captions(
    segments: Sequence[DrawnSegment], size: tuple[int, int], font_size: int
) -> list[Caption]:
    """Returns captions for the segments that have room for one.

    Args:
        segments: In the order they are drawn; a later one hides an earlier one.
        size: (height, width) of the picture, in pixels.
        font_size: The largest size; smaller ones are tried where it does not fit.
    """
    scale = min(1.0, GRID_SIDE / max(size))
    shape = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    owners = _owner_grid(segments, shape, scale)
    taken = np.zeros(shape, dtype=np.float32)  # [h, w]
    captions = []
    visible = {index: owners == index for index in range(len(segments))}
    for index in sorted(visible, key=lambda index: int(visible[index].sum())):
        caption = _place_caption(segments[index], visible[index], taken, size, scale, font_size)
        if caption is not None:
            captions.append(caption)
    return captions


def _owner_grid(
    segments: Sequence[DrawnSegment], shape: tuple[int, int], scale: float
) -> npt.NDArray[np.int32]:
    """Returns the index of the topmost segment at every grid point, -1 where there is none."""
    owners = np.full(shape, -1, dtype=np.int32)
    rows = ((np.arange(shape[0]) + 0.5) / scale).astype(np.int64)  # of the picture
    columns = ((np.arange(shape[1]) + 0.5) / scale).astype(np.int64)
    for index, segment in enumerate(segments):
        height, width = segment.mask.shape
        in_rows = np.flatnonzero((rows >= segment.top) & (rows < segment.top + height))
        in_columns = np.flatnonzero((columns >= segment.left) & (columns < segment.left + width))
        points = np.ix_(rows[in_rows] - segment.top, columns[in_columns] - segment.left)
        view = owners[np.ix_(in_rows, in_columns)]
        owners[np.ix_(in_rows, in_columns)] = np.where(segment.mask[points], index, view)
    return owners


def _place_caption(
    segment: DrawnSegment,
    visible: npt.NDArray[np.bool_],
    taken: FloatGrid,
    size: tuple[int, int],
    scale: float,
    font_size: int,
) -> Caption | None:
    best: tuple[Caption, _Place, tuple[int, int]] | None = None
    if not segment.caption or not visible.any():
        return None
    depth = _depth_inside(visible)
    for text_height in _font_sizes(font_size):
        width, height = _box_size(segment.caption, text_height)
        window = (int(np.ceil(height * scale)) + 1, int(np.ceil(width * scale)) + 1)
        place = _best_place(visible, depth, taken, window)
        if place is None or width > size[1] or height > size[0]:
            continue
        if best is None or place.cover > best[1].cover:
            left = min(int(place.column / scale), size[1] - width)
            top = min(int(place.row / scale), size[0] - height)
            caption = Caption(segment.caption, segment.color, text_height, left, top, width, height)
            best = (caption, place, window)
        if place.cover >= _GOOD_COVER:
            break
    if best is None or best[1].cover < _ENOUGH_COVER:
        return None
    caption, place, window = best
    taken[place.row : place.row + window[0], place.column : place.column + window[1]] = 1
    return caption


def _font_sizes(font_size: int) -> list[int]:
    sizes = [max(MIN_FONT_SIZE, round(font_size * factor)) for factor in _FONT_SCALES]
    return sorted(set(sizes), reverse=True)


def _box_size(text: str, font_size: int) -> tuple[int, int]:
    """Returns (width, height) of a caption with the room around its text."""
    width, height = text_size(text, font_size)
    return width + round(0.7 * font_size), height + round(0.3 * font_size)


def _depth_inside(visible: npt.NDArray[np.bool_]) -> FloatGrid:
    """Returns how deep each point lies in the segment, at most 1; among equals, the middle counts.

    The edge of the picture is an edge of the segment.
    """
    padded = np.pad(visible, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(visible)
    all_rows, all_columns = np.ogrid[: visible.shape[0], : visible.shape[1]]
    from_middle = np.hypot(all_rows - rows.mean(), all_columns - columns.mean())
    merit = depth / depth.max() - 0.2 * from_middle / max(visible.shape)
    return np.asarray(merit, dtype=np.float32)


def _best_place(
    visible: npt.NDArray[np.bool_], depth: FloatGrid, taken: FloatGrid, window: tuple[int, int]
) -> _Place | None:
    """Returns where a box covers the segment most; among equals, where the segment is widest."""
    height, width = window
    if height > visible.shape[0] or width > visible.shape[1]:
        return None
    cover = _window_sums(visible.astype(np.float32), window) / (height * width)
    is_free = _window_sums(taken, window) < 0.5
    if not is_free.any():
        return None
    middle = depth[height // 2 :, width // 2 :][: cover.shape[0], : cover.shape[1]]
    merit = np.where(is_free, cover + 0.2 * middle, -1)
    row, column = np.unravel_index(int(merit.argmax()), merit.shape)
    return _Place(float(cover[row, column]), int(row), int(column))


def _window_sums(grid: FloatGrid, window: tuple[int, int]) -> FloatGrid:
    """Returns the sum over every window that lies on the grid, at the window's top left corner."""
    height, width = window
    sums = cv2.integral(grid, sdepth=cv2.CV_64F)
    inside = sums[height:, width:] - sums[:-height, width:]
    inside = inside - sums[height:, :-width] + sums[:-height, :-width]
    return np.asarray(inside, dtype=np.float32)

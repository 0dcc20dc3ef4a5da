"""What is drawn: a segmentation of any task as a list of masked segments.

Shapes: H W picture size, h w size of a segment's box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from freeseg.visualization.palette import Color, shade

BoolMask = npt.NDArray[np.bool_]

FRAME = 0.006  # width of the edge of a box, in shares of the picture's shorter side


@dataclass(frozen=True)
class DrawnSegment:
    """One segment, cut out to its bounding box."""

    label: int  # class
    hue: Color  # of its class or, where there are no classes to tell apart, of its object
    caption: str  # what is written into it
    left: int  # pixels, of the box in the picture
    top: int
    mask: BoolMask  # [h, w]
    is_thing: bool = False
    score: float | None = None
    variant: int = 0  # which one of its hue

    @property
    def color(self) -> Color:
        """The shade of its hue that it is drawn in."""
        return shade(self.hue, self.variant)

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the box, to index a picture with."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))

    def enlarged(self, factor: int) -> DrawnSegment:
        """The same segment in a picture whose pixels are `factor` times as large."""
        if factor == 1:
            return self
        mask = np.repeat(np.repeat(self.mask, factor, axis=0), factor, axis=1)
        return replace(self, mask=mask, left=self.left * factor, top=self.top * factor)


def cut_out(mask: BoolMask, label: int, hue: Color, caption: str) -> DrawnSegment | None:
    """Returns the segment of a mask [H, W], or None when it has no pixel."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return None
    crop = np.ascontiguousarray(mask[top : top + height, left : left + width])
    return DrawnSegment(label, hue, caption, left, top, crop)


def frame_of(box: npt.NDArray[np.float32], size: tuple[int, int]) -> BoolMask:
    """The edge of a box, xyxy in pixels, as a mask of size (H, W)."""
    mask = np.zeros(size, dtype=np.uint8)
    left, top, right, bottom = (round(side) for side in box.tolist())
    if right > left and bottom > top:
        width = max(1, round(FRAME * min(size)))
        cv2.rectangle(mask, (left, top), (right - 1, bottom - 1), 1, -1)
        inner = mask[top + width : bottom - width, left + width : right - width]
        inner[:] = 0
    return mask.view(np.bool_)


def segments_of_map(
    id_map: npt.NDArray[np.generic], label_of_id: dict[int, int], colors: Sequence[Color]
) -> dict[int, DrawnSegment]:
    """Returns the segments of a map [H, W] in which every pixel has one id; other ids are left out.

    Several ids of one class get different shades of its colour, in the order of the ids.
    """
    segments: dict[int, DrawnSegment] = {}
    seen: dict[int, int] = {}
    for number in np.unique(id_map).tolist():
        label = label_of_id.get(number)
        if label is None:
            continue
        segment = cut_out(np.asarray(id_map == number), label, colors[label], "")
        if segment is not None:
            segments[number] = replace(segment, variant=seen.get(label, 0))
            seen[label] = seen.get(label, 0) + 1
    return segments

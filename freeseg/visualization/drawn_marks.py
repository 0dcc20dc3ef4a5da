"""Draws what was said about a photo over its answer: clicks and boxes."""

from __future__ import annotations

import cv2
import numpy as np

from freeseg.images import RgbImage
from freeseg.structures import Marks
from freeseg.structures.marks import OFF, ON
from freeseg.visualization.palette import Color

COLORS: dict[int, Color] = {ON: (0, 160, 60), OFF: (200, 30, 30)}  # of clicks
BOX_COLOR: Color = (255, 255, 255)
RIM: Color = (255, 255, 255)
SHARE = 1 / 70  # of the picture's shorter side, a click's radius


def draw_marks(picture: RgbImage, marks: Marks, factor: int = 1) -> RgbImage:
    """Returns a copy of the picture with clicks, green on and red off an object, and boxes.

    Args:
        picture: The photo, enlarged.
        marks: In pixels of the photo.
        factor: By which it was enlarged.
    """
    drawn = picture.copy()
    radius = max(3, round(min(picture.shape[:2]) * SHARE))
    line = max(1, radius // 3)
    for box in marks.boxes[marks.has_box].tolist():
        left, top, right, bottom = (round(side * factor) for side in box)
        cv2.rectangle(drawn, (left, top), (right - 1, bottom - 1), BOX_COLOR, line)
    for sign, color in COLORS.items():
        for x, y in (marks.points[marks.signs == sign] * factor).tolist():
            centre = int(np.floor(x)), int(np.floor(y))
            cv2.circle(drawn, centre, radius + line, RIM, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(drawn, centre, radius, color, cv2.FILLED, cv2.LINE_AA)
    return drawn

"""Drawing segments: translucent fills, smooth contours, captions that do not collide.

Shapes: H W picture size, h w size of a segment's box.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from freeseg.images import RgbImage
from freeseg.visualization.captions import Caption, place_captions
from freeseg.visualization.drawn_segments import DrawnSegment
from freeseg.visualization.palette import Color, mix
from freeseg.visualization.text import load_font

FILL_OPACITY = 0.5
_CONTOUR_LIGHTNESS = 0.45  # share of white in the line around a segment
_PLATE_OPACITY = 0.78  # of the rounded rectangle behind a caption


def draw_segments(image: RgbImage, segments: Sequence[DrawnSegment], font_size: int) -> RgbImage:
    """Returns a copy of the picture with fills, contours and captions; nothing else changes.

    Where segments overlap, the smaller one is on top.
    """
    ordered = sorted(segments, key=lambda segment: -segment.area)
    picture = _fill(image, ordered)
    thickness = max(1, round(min(image.shape[:2]) / 320))
    for segment in ordered:
        _draw_contour(picture, segment, thickness)
    captions = place_captions(ordered, image.shape[:2], font_size)
    return _write_captions(picture, captions)


def _fill(image: RgbImage, segments: Sequence[DrawnSegment]) -> RgbImage:
    colors = image.copy()  # [H, W, 3], the photo itself where no segment is
    for segment in segments:
        colors[segment.box][segment.mask] = segment.color
    return cv2.addWeighted(image, 1 - FILL_OPACITY, colors, FILL_OPACITY, 0)


def _draw_contour(picture: RgbImage, segment: DrawnSegment, thickness: int) -> None:
    outlines, _ = cv2.findContours(
        segment.mask.view(np.uint8),
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_NONE,
        offset=(segment.left, segment.top),
    )
    color = mix(segment.color, (255, 255, 255), _CONTOUR_LIGHTNESS)
    cv2.drawContours(picture, outlines, -1, color, thickness, cv2.LINE_AA)


def _write_captions(picture: RgbImage, captions: Sequence[Caption]) -> RgbImage:
    for caption in captions:
        rows = slice(caption.top, caption.top + caption.height)
        columns = slice(caption.left, caption.left + caption.width)
        picture[rows, columns] = _caption_plate(picture[rows, columns], caption)
    return picture


def _caption_plate(background: npt.NDArray[np.uint8], caption: Caption) -> RgbImage:
    """Returns the patch under a caption with its plate and text on top."""
    height, width = background.shape[:2]
    plate = Image.new("L", (width, height), 0)
    corner = max(1, height // 4)
    ImageDraw.Draw(plate).rounded_rectangle(
        (0, 0, width - 1, height - 1), corner, fill=round(255 * _PLATE_OPACITY)
    )
    patch = Image.fromarray(background)
    patch.paste(_plate_color(caption.color), mask=plate)
    ImageDraw.Draw(patch).text(
        (width / 2, height / 2),
        caption.text,
        font=load_font(caption.font_size),
        fill=(255, 255, 255),
        anchor="mm",
    )
    return np.asarray(patch)


def _plate_color(color: Color) -> Color:
    return mix(color, (12, 12, 16), 0.78)

"""Drawing regions into a picture: translucent fills, smooth contours, captions that do not collide.

Shapes: H W picture size, h w size of a region's box.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from freeseg.images import RgbImage
from freeseg.visualization.captions import Caption, place_captions
from freeseg.visualization.palette import Color, mix
from freeseg.visualization.regions import Region
from freeseg.visualization.text import load_font

FILL_OPACITY = 0.5
_CONTOUR_LIGHTNESS = 0.45  # share of white in the line around a region
_PLATE_OPACITY = 0.78  # of the rounded rectangle behind a caption


def draw_regions(image: RgbImage, regions: Sequence[Region], font_size: int) -> RgbImage:
    """Returns a copy of the picture with fills, contours and captions; nothing else changes.

    Where regions overlap, the smaller one is on top.
    """
    ordered = sorted(regions, key=lambda region: -region.area)
    picture = _fill(image, ordered)
    thickness = max(1, round(min(image.shape[:2]) / 320))
    for region in ordered:
        _draw_contour(picture, region, thickness)
    captions = place_captions(ordered, image.shape[:2], font_size)
    return _write_captions(picture, captions)


def _fill(image: RgbImage, regions: Sequence[Region]) -> RgbImage:
    colors = image.copy()  # [H, W, 3], the photo itself where no region is
    for region in regions:
        colors[region.box][region.mask] = region.color
    return cv2.addWeighted(image, 1 - FILL_OPACITY, colors, FILL_OPACITY, 0)


def _draw_contour(picture: RgbImage, region: Region, thickness: int) -> None:
    outlines, _ = cv2.findContours(
        region.mask.view(np.uint8),
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_NONE,
        offset=(region.left, region.top),
    )
    color = mix(region.color, (255, 255, 255), _CONTOUR_LIGHTNESS)
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

"""Reads a photo as a model is to see it, and says what looks wrong with how it is read."""

from __future__ import annotations

import logging

from freeseg.image_headers import camera_bits
from freeseg.images import (
    FULL_WHITE,
    MAX_PIXELS,
    ImageSource,
    LoadedSource,
    RgbImage,
    deepest_value,
    load_source,
    read_image,
)

logger = logging.getLogger(__name__)

DIM = 64  # 8-bit level of the brightest pixel that a 14-bit photo has under a white of 16 bits


def read_photo(
    source: ImageSource, *, white_level: int = FULL_WHITE, max_pixels: int = MAX_PIXELS
) -> RgbImage:
    """Reads as `freeseg.images.read_image`; warns of 16-bit pixels with values of fewer bits."""
    loaded = load_source(source)
    image = read_image(loaded, white_level=white_level, max_pixels=max_pixels)
    if white_level == FULL_WHITE and image.max() <= DIM:
        _warn_of_fewer_bits(loaded)
    return image


def _warn_of_fewer_bits(photo: LoadedSource) -> None:
    """Says so where a photo has 16-bit pixels and its values are those of fewer bits."""
    brightest = deepest_value(photo)
    bits = None if brightest is None else camera_bits(brightest)
    if bits is not None:
        logger.warning(
            "%s: the brightest of its 16-bit pixels is %d, as of a camera of %d bits, and it is "
            "read as nearly black; --opts INPUT.WHITE_LEVEL %d of `freeseg segment` or "
            "`freeseg serve` reads it right",
            photo.name, brightest, bits, (1 << bits) - 1,
        )  # fmt: skip

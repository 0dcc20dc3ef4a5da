"""What image files say of their pictures before a pixel is decoded: size, orientation, depth."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from typing import IO

from PIL import Image

ORIENTATION_TAG = 0x0112  # EXIF 2.3; 1 is upright
_UPRIGHT = 1

CAMERA_BITS = (8, 10, 12, 14)  # what 16-bit files often hold

# orientation -> what makes the stored pixels upright
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_INVERSE = {6: 8, 8: 6}  # the others undo themselves
_QUARTER_TURNS = frozenset({5, 6, 7, 8})

# Pillow's readers meet broken files with any of these.
DECODING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    LookupError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    struct.error,
    RuntimeError,
)

_PNG_SIGNATURE = 8  # bytes
_PNG_TEXTS = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})  # what can hold EXIF
_MAX_LEVEL = 65_535


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture.

    Attributes:
        stored_size: (height, width) of the pixels as they lie in the file.
        orientation: EXIF's, 1 to 8; 1 where there is none.
        is_deep: Whether its channels have 16 bits.
    """

    stored_size: tuple[int, int]
    orientation: int = _UPRIGHT
    is_deep: bool = False

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) as viewers show it."""
        height, width = self.stored_size
        return (width, height) if self.orientation in _QUARTER_TURNS else (height, width)

    @property
    def is_ambiguous(self) -> bool:
        """Whether it is turned or mirrored and the sizes of both frames are the same."""
        return self.orientation != _UPRIGHT and self.upright_size == self.stored_size


def read_header(source: str | os.PathLike[str] | bytes) -> ImageHeader | None:
    """The header of an image file or of its bytes; None where it cannot be read as an image."""
    try:
        file: str | os.PathLike[str] | IO[bytes] = (
            io.BytesIO(source) if isinstance(source, bytes) else source
        )
        with Image.open(file) as image:
            is_deep = has_deep_pixels(image)
            orientation = _orientation_before_loading(image)
            is_turned = image.format == "TIFF" and orientation in _QUARTER_TURNS
            size = image.size if is_turned else image.size[::-1]  # Pillow gives TIFF's upright one
            return ImageHeader(size, orientation, is_deep)
    except (*DECODING_ERRORS, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


def camera_bits(brightest: int) -> int | None:
    """Returns how many bits a camera has whose brightest 16-bit value is this; None if all 16.

    Black pictures say nothing.
    """
    return next((bits for bits in CAMERA_BITS if 0 < brightest < 1 << bits), None)


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation that is still to be applied; an unreadable EXIF block says nothing."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, _UPRIGHT)
    except DECODING_ERRORS:
        return _UPRIGHT
    return value if value in _TURNS else _UPRIGHT


def make_upright(image: Image.Image, orientation: int) -> Image.Image:
    """A picture of stored pixels as viewers show it."""
    return image if orientation == _UPRIGHT else image.transpose(_TURNS[orientation])


def make_stored(image: Image.Image, orientation: int) -> Image.Image:
    """The reverse of `make_upright`."""
    return make_upright(image, _INVERSE.get(orientation, orientation))


def has_deep_pixels(image: Image.Image) -> bool:
    """Whether the file of a picture that is not decoded yet has 16 bits per channel."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16") or has_deep_colors(image)


def has_deep_colors(image: Image.Image) -> bool:
    """Whether Pillow will keep only 8 of the 16 bits of a picture that is not decoded yet."""
    arguments = _decoder_arguments(image)
    if image.format == "PPM":
        return image.mode == "RGB" and arguments[-1] == _MAX_LEVEL
    return image.mode in ("LA", "RGB", "RGBA") and ";16" in str(arguments[0])


def states_white(image: Image.Image) -> bool:
    """Whether the file itself says which 16-bit value is white; Pillow scales by it."""
    level = _decoder_arguments(image)[-1]
    return image.format == "PPM" and isinstance(level, int) and level != _MAX_LEVEL


def _decoder_arguments(image: Image.Image) -> tuple[object, ...]:
    """What Pillow tells its decoder, the raw mode first; forgotten once it is loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    return arguments if isinstance(arguments, tuple) and arguments else (arguments,)


def _orientation_before_loading(image: Image.Image) -> int:
    """As `orientation_of`, without decoding: Pillow does so for every PNG that has no EXIF."""
    if image.format != "PNG" or "exif" in image.info or _has_late_texts(image):
        return orientation_of(image)
    plain = Image.new("L", (1, 1))
    plain.info = image.info  # Pillow's usual look at texts and XMP
    return orientation_of(plain)


def _has_late_texts(image: Image.Image) -> bool:
    """Whether anything that may be EXIF stands behind a PNG's pixels."""
    file = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    is_behind = False
    try:
        file.seek(_PNG_SIGNATURE)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            is_behind |= kind == b"IDAT"
            if is_behind and kind in _PNG_TEXTS:
                return True
            file.seek(length + 4, os.SEEK_CUR)  # and the checksum
    finally:
        file.seek(place)
    return False

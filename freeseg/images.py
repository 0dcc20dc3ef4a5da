"""Photo reading: any of the usual image sources becomes one upright RGB array.

Shapes: H W picture size, after the EXIF orientation was applied.
"""

from __future__ import annotations

import io
import os
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

RgbImage = npt.NDArray[np.uint8]  # [H, W, 3]
ImageSource = Union[str, "os.PathLike[str]", bytes, IO[bytes], Image.Image, npt.NDArray[np.generic]]

# The level at which Pillow itself refuses a file; larger photos need gigabytes per class.
MAX_PIXELS = 178_956_970

_WEB = ("http://", "https://")
URL_TIMEOUT = 20.0  # seconds without an answer
MAX_URL_BYTES = 64 << 20

# What a transparent pixel is seen on: paper, as browsers and image viewers show it.
PAPER = (255, 255, 255)

# What a folder is searched for; a file that is named explicitly may have any suffix.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for group in (
        "jpg jpeg jpe jfif png webp avif",
        "tif tiff bmp dib gif",
        "jp2 tga pbm pgm pnm ppm",
    )
    for suffix in group.split()
)


class ImageError(ValueError):
    """A picture cannot be used; the message is one line naming it and the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def read_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Returns a picture as a contiguous, upright RGB array, uint8 [H, W, 3].

    The EXIF orientation is applied, transparency is composited on white, 16-bit values are scaled
    to 8 bits (65535 becomes 255, no stretching), grey, palette and CMYK pictures become RGB, and
    of an animation the first frame is taken. Arrays are RGB (or grey, grey + alpha, RGBA) in the
    order [H, W, C], of type uint8, uint16 or bool.

    Args:
        source: A path, a web address, the bytes of an image file, a binary file, a Pillow image
            or an array.
        max_pixels: Larger pictures are refused before they are decoded.

    Raises:
        ImageError: The picture cannot be used; the message names it and says why.
    """
    name = describe_source(source)
    if isinstance(source, np.ndarray):
        return _array_to_rgb(source, name, max_pixels)
    if isinstance(source, Image.Image):
        return _pillow_to_rgb(source, name, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), name, max_pixels)
    if isinstance(source, str) and is_web_address(source):
        return _decode(_read_url(source), name, max_pixels)
    if isinstance(source, (str, os.PathLike)):
        return _decode(_read_file(Path(source), name), name, max_pixels)
    if hasattr(source, "read"):
        content = source.read()
        if not isinstance(content, bytes):
            raise ImageError(name, "the file object gives text, open it in binary mode ('rb')")
        return _decode(content, name, max_pixels)
    raise ImageError(
        name,
        "wanted a path, a web address, image bytes, a binary file, a PIL image or an RGB array "
        f"[H, W, 3] of uint8, got {type(source).__module__}.{type(source).__qualname__}",
    )


def is_web_address(text: str) -> bool:
    """Whether a text is an address to fetch a picture from, not a path."""
    return text.lower().startswith(_WEB)


def order_channels(image: RgbImage, image_format: str) -> npt.NDArray[np.uint8]:
    """Returns a view of an RGB array [H, W, 3] in the channel order a model reads, RGB or BGR."""
    if image_format not in ("RGB", "BGR"):
        raise ValueError(f"INPUT.FORMAT must be RGB or BGR, got {image_format!r}")
    return image if image_format == "RGB" else image[:, :, ::-1]


def sample_photo() -> RgbImage:
    """Returns the photo that scikit-learn ships: a palace, trees and sky, uint8 [427, 640, 3]."""
    try:
        from sklearn.datasets import load_sample_image
    except ImportError as error:
        raise ImageError("china.jpg", "needs scikit-learn, which ships the photo") from error
    return read_image(load_sample_image("china.jpg"))


def describe_source(source: object) -> str:
    """Returns how messages call a picture: its file name where it has one, else what it is."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source) or "'' (empty file name)"
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    if isinstance(name, str) and name:
        return name
    if isinstance(source, np.ndarray):
        return f"array {list(source.shape)} {source.dtype}"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"image of {len(source)} bytes"
    return f"{type(source).__name__} object"


def _read_file(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(name, "is a folder, not an image file")
        if path.exists() and not path.is_file():
            raise ImageError(name, "is not a regular file")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(name, "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(name, f"cannot be read ({_one_line(reason)})") from None


def _read_url(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=URL_TIMEOUT) as answer:
            content: bytes = answer.read(MAX_URL_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise ImageError(address, f"cannot be fetched (the server says {error.code})") from None
    except (OSError, ValueError) as error:  # URLError is an OSError
        reason = _one_line(getattr(error, "reason", error))
        raise ImageError(
            address, f"cannot be fetched ({reason}); without the net, save it and name the file"
        ) from None
    if len(content) > MAX_URL_BYTES:
        raise ImageError(address, f"is larger than {MAX_URL_BYTES >> 20} MB")
    return content


def _decode(content: bytes, name: str, max_pixels: int) -> RgbImage:
    if not content:
        raise ImageError(name, "is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _pillow_to_rgb(image, name, max_pixels)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(name, f"has more than the {max_pixels:,} pixels allowed") from None
    except UnidentifiedImageError:
        raise ImageError(name, "is not an image, or of a kind that Pillow cannot read") from None
    except _DECODING_ERRORS as error:
        raise ImageError(name, f"is corrupted or truncated ({_one_line(error)})") from None


# Pillow's readers meet broken files with any of these.
_DECODING_ERRORS = (
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


def _pillow_to_rgb(image: Image.Image, name: str, max_pixels: int) -> RgbImage:
    _check_size(image.height, image.width, name, max_pixels)
    try:
        upright = _apply_orientation(image)
        if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
            return _array_to_rgb(_deep_pixels(upright, name), name, max_pixels)
        if upright.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in upright.info:
            upright = _on_paper(upright)
        return np.array(upright.convert("RGB"))
    except ImageError:
        raise
    except _DECODING_ERRORS as error:
        raise ImageError(name, f"is corrupted or truncated ({_one_line(error)})") from None


def _apply_orientation(image: Image.Image) -> Image.Image:
    image.load()  # a broken picture fails here, so that what follows is about its EXIF block alone
    try:
        return ImageOps.exif_transpose(image)
    except _DECODING_ERRORS:  # an unreadable EXIF block says nothing about the picture
        return image


def _on_paper(image: Image.Image) -> Image.Image:
    straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no La -> RGBA
    picture = straight.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, (*PAPER, 255)), picture)


def _deep_pixels(image: Image.Image, name: str) -> npt.NDArray[np.uint16]:
    """Returns the 16-bit values of a picture which Pillow keeps in more than 8 bits."""
    if image.mode == "F":
        raise ImageError(name, "has floating point pixels of unknown range, save it as 8 or 16 bit")
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ImageError(name, "has 32-bit pixels beyond 0..65535, save it as 8 or 16 bit")
    return values.astype(np.uint16)


def _array_to_rgb(array: npt.NDArray[np.generic], name: str, max_pixels: int) -> RgbImage:
    pixels = array[:, :, None] if array.ndim == 2 else array  # [H, W, C]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        hint = ", move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ImageError(name, f"wanted the shape [H, W] or [H, W, 1..4], got {array.shape}{hint}")
    _check_size(pixels.shape[0], pixels.shape[1], name, max_pixels)
    pixels = _to_uint8(pixels, name)
    if pixels.shape[2] in (2, 4):
        mode_image = Image.fromarray(np.ascontiguousarray(pixels))  # LA or RGBA
        return np.array(_on_paper(mode_image).convert("RGB"))
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), dtype=np.uint8, order="C")


def _to_uint8(pixels: npt.NDArray[np.generic], name: str) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:  # either byte order
        # 65535 = 255 * 257: the nearest 8-bit level, so that 8-bit values * 257 come back exactly
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    hint = ""
    if pixels.dtype.kind == "f":
        hint = ", for values in 0..1 pass (image * 255).round().astype(numpy.uint8)"
    raise ImageError(name, f"wanted an array of uint8, uint16 or bool, got {pixels.dtype}{hint}")


def _check_size(height: int, width: int, name: str, max_pixels: int) -> None:
    if height < 1 or width < 1:
        raise ImageError(name, f"has no pixels (width {width}, height {height})")
    if height * width > max_pixels:
        raise ImageError(name, f"has {width}x{height} pixels, more than the {max_pixels:,} allowed")


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    # Pillow names the anonymous buffer it read from, which helps nobody
    return text.split(" <_io.BytesIO")[0] or type(message).__name__

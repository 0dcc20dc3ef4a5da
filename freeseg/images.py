"""Photo reading: any of the usual image sources becomes one upright RGB array.

Shapes: H W picture size, after the EXIF orientation was applied.
"""

from __future__ import annotations

import io
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Union

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from freeseg.image_headers import (
    DECODING_ERRORS,
    has_deep_colors,
    has_deep_pixels,
    make_stored,
    make_upright,
    orientation_of,
    read_header,
    states_white,
)

RgbImage = npt.NDArray[np.uint8]  # [H, W, 3]


@dataclass(frozen=True)
class LoadedSource:
    """A picture whose file has been read, or that never had one; not decoded."""

    name: str
    content: bytes | Image.Image | npt.NDArray[np.generic]


ImageSource = Union[
    str,
    "os.PathLike[str]",
    bytes,
    IO[bytes],
    Image.Image,
    npt.NDArray[np.generic],
    LoadedSource,
]

# The level at which Pillow itself refuses a file; larger photos need gigabytes per class.
MAX_PIXELS = 178_956_970

_WEB = ("http://", "https://")
URL_TIMEOUT = 20.0  # seconds without an answer
MAX_URL_BYTES = 64 << 20

FULL_WHITE = 65_535  # of 16-bit values, unless a camera has fewer bits

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


@dataclass(frozen=True)
class _Reading:
    """How a picture is to be read."""

    name: str
    max_pixels: int
    upright: bool
    white_level: int

    def __post_init__(self) -> None:
        if not 1 <= self.white_level <= FULL_WHITE:
            raise ValueError(f"wanted a white level from 1 to {FULL_WHITE}, got {self.white_level}")


def read_image(
    source: ImageSource,
    *,
    max_pixels: int = MAX_PIXELS,
    upright: bool = True,
    white_level: int = FULL_WHITE,
) -> RgbImage:
    """Returns a picture as a contiguous, upright RGB array, uint8 [H, W, 3].

    The EXIF orientation is applied, transparency is composited on white, 16-bit values are scaled
    to 8 bits (the white level becomes 255, no stretching), grey, palette and CMYK pictures become
    RGB, and of an animation the first frame is taken. Arrays are RGB (or grey, grey + alpha, RGBA)
    in the order [H, W, C], of type uint8, uint16 or bool.

    Args:
        source: A path, a web address, the bytes of an image file, a binary file, a Pillow image,
            an array, or what `load_source` made of one of them.
        max_pixels: Larger pictures are refused before they are decoded.
        upright: False gives the pixels as they lie in the file, whatever EXIF says.
        white_level: The 16-bit value that is white, as 4095 of a 12-bit camera; what is above is
            white as well. Files that state it themselves (PGM, PPM) and 8-bit pictures ignore it.

    Raises:
        ImageError: The picture cannot be used; the message names it and says why.
    """
    loaded = load_source(source)
    reading = _Reading(loaded.name, max_pixels, upright, white_level)
    if isinstance(loaded.content, np.ndarray):
        return _array_to_rgb(loaded.content, reading)
    if isinstance(loaded.content, Image.Image):
        return _pillow_to_rgb(loaded.content, reading)
    return _decode(loaded.content, reading)


def load_source(source: ImageSource) -> LoadedSource:
    """Reads the file of a picture, or fetches it, so that it can be looked at more than once.

    Raises:
        ImageError: It cannot be read, or is nothing that a picture can be made of.
    """
    if isinstance(source, LoadedSource):
        return source
    name = describe_source(source)
    if isinstance(source, (np.ndarray, Image.Image)):
        return LoadedSource(name, source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return LoadedSource(name, bytes(source))
    if isinstance(source, str) and is_web_address(source):
        return LoadedSource(name, _read_url(source))
    if isinstance(source, (str, os.PathLike)):
        return LoadedSource(name, _read_file(Path(source), name))
    if hasattr(source, "read"):
        content = source.read()
        if not isinstance(content, bytes):
            raise ImageError(name, "the file object gives text, open it in binary mode ('rb')")
        return LoadedSource(name, content)
    raise ImageError(
        name,
        "wanted a path, a web address, image bytes, a binary file, a PIL image or an RGB array "
        f"[H, W, 3] of uint8, got {type(source).__module__}.{type(source).__qualname__}",
    )


def deepest_value(source: ImageSource) -> int | None:
    """Returns the brightest value of a 16-bit picture, transparency aside; None for other ones.

    Of a file with 8 bits only the header is read. Files that state their white level themselves
    are left out, and files that cannot be read: `read_image` says what is wrong with them.
    """
    is_path = isinstance(source, os.PathLike) or (
        isinstance(source, str) and not is_web_address(source)
    )
    if is_path:
        header = read_header(source)  # type: ignore[arg-type]
        if header is None or not header.is_deep:
            return None
    try:
        values = _deep_values(load_source(source))
    except (ImageError, *DECODING_ERRORS):
        return None
    return int(values.max()) if values is not None and values.size else None


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


def file_name_of(source: object) -> str | None:
    """Returns the name of the file that a picture is read from, without folders, if it has one."""
    if isinstance(source, str) and is_web_address(source):
        return Path(urllib.parse.unquote(urllib.parse.urlsplit(source).path)).name or None
    if isinstance(source, (str, os.PathLike)):
        return Path(source).name
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return Path(name).name if isinstance(name, str) and name else None


def _read_file(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(name, "is a folder, not an image file")
        if path.exists() and not path.is_file():
            raise ImageError(name, "is not a regular file")
        return path.read_bytes()
    except ImageError:
        raise
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


def _decode(content: bytes, reading: _Reading) -> RgbImage:
    name = reading.name
    if not content:
        raise ImageError(name, "is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _pillow_to_rgb(image, reading, content)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(name, f"has more than the {reading.max_pixels:,} pixels allowed") from None
    except UnidentifiedImageError:
        raise ImageError(name, "is not an image, or of a kind that Pillow cannot read") from None
    except DECODING_ERRORS as error:
        raise ImageError(name, f"is corrupted or truncated ({_one_line(error)})") from None


def _pillow_to_rgb(image: Image.Image, reading: _Reading, content: bytes = b"") -> RgbImage:
    """Of a file, `content` is where 16-bit colours are found that Pillow does not keep."""
    _check_size(image.height, image.width, reading)
    name = reading.name
    try:
        if states_white(image):
            reading = replace(reading, white_level=FULL_WHITE)
        has_more = bool(content) and has_deep_colors(image)
        undone = orientation_of(image) if image.format == "TIFF" else 1  # loading applies it
        image.load()  # a broken picture fails here: what follows is about its EXIF block alone
        orientation = orientation_of(image)
        if has_more and reading.white_level != FULL_WHITE:
            image = Image.fromarray(_to_uint8(_deep_colors(content, name), reading))
        turn, number = (make_upright, orientation) if reading.upright else (make_stored, undone)
        turned = turn(image, number)
        if turned.mode in ("I", "F") or turned.mode.startswith("I;16"):
            return _array_to_rgb(_deep_pixels(turned, name), reading)
        if turned.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in turned.info:
            turned = _on_paper(turned)
        return np.array(turned.convert("RGB"))
    except ImageError:
        raise
    except DECODING_ERRORS as error:
        raise ImageError(name, f"is corrupted or truncated ({_one_line(error)})") from None


def _deep_values(loaded: LoadedSource) -> npt.NDArray[np.uint16] | None:
    """The 16-bit values of a picture without its transparency, in any layout; None if of 8."""
    if isinstance(loaded.content, np.ndarray):
        array = loaded.content
        if array.dtype.kind != "u" or array.dtype.itemsize != 2:
            return None
        return _without_alpha(array.astype(np.uint16))
    if isinstance(loaded.content, Image.Image):
        is_deep = has_deep_pixels(loaded.content) and not has_deep_colors(loaded.content)
        return _deep_pixels(loaded.content, loaded.name) if is_deep else None
    with Image.open(io.BytesIO(loaded.content)) as image:
        if states_white(image) or not has_deep_pixels(image):
            return None
        if has_deep_colors(image):
            return _without_alpha(_deep_colors(loaded.content, loaded.name))
        return _deep_pixels(image, loaded.name)


def _without_alpha(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    return pixels[..., :-1] if has_alpha else pixels


def _deep_colors(content: bytes, name: str) -> npt.NDArray[np.uint16]:
    """16-bit colours, RGB or RGBA, of which Pillow keeps the upper half; turned as Pillow's."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise ImageError(name, "has 16-bit colours of a kind that OpenCV cannot read")
    order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(pixels, order).astype(np.uint16, copy=False)


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


def _array_to_rgb(array: npt.NDArray[np.generic], reading: _Reading) -> RgbImage:
    pixels = array[:, :, None] if array.ndim == 2 else array  # [H, W, C]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        hint = ", move the channels last" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ImageError(
            reading.name, f"wanted the shape [H, W] or [H, W, 1..4], got {array.shape}{hint}"
        )
    _check_size(pixels.shape[0], pixels.shape[1], reading)
    pixels = _to_uint8(pixels, reading)
    if pixels.shape[2] in (2, 4):
        mode_image = Image.fromarray(np.ascontiguousarray(pixels))  # LA or RGBA
        return np.array(_on_paper(mode_image).convert("RGB"))
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), dtype=np.uint8, order="C")


def _to_uint8(pixels: npt.NDArray[np.generic], reading: _Reading) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8, copy=False)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:  # either byte order
        # the nearest 8-bit level; 65535 = 255 * 257, so that 8-bit values * 257 come back exactly
        white = np.uint32(reading.white_level)
        values = np.minimum(pixels.astype(np.uint32), white)
        return ((values * np.uint32(510) + white) // (np.uint32(2) * white)).astype(np.uint8)
    hint = ""
    if pixels.dtype.kind == "f":
        hint = ", for values in 0..1 pass (image * 255).round().astype(numpy.uint8)"
    raise ImageError(
        reading.name, f"wanted an array of uint8, uint16 or bool, got {pixels.dtype}{hint}"
    )


def _check_size(height: int, width: int, reading: _Reading) -> None:
    name, max_pixels = reading.name, reading.max_pixels
    if height < 1 or width < 1:
        raise ImageError(name, f"has no pixels (width {width}, height {height})")
    if height * width > max_pixels:
        raise ImageError(name, f"has {width}x{height} pixels, more than the {max_pixels:,} allowed")


def _one_line(message: object) -> str:
    text = " ".join(str(message).split())
    # Pillow names the anonymous buffer it read from, which helps nobody
    return text.split(" <_io.BytesIO")[0] or type(message).__name__

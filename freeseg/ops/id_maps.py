"""Maps of segment ids: read from COCO's panoptic PNGs, and compared pixel by pixel.

The compiled library does both without Python's lock, so that threads share the work; without it
numpy and Pillow do. Shapes: H W image size, N pairs.
"""

from __future__ import annotations

import ctypes
import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from freeseg.ops.native import load

IdMap = npt.NDArray[np.int32]
Pairs = npt.NDArray[np.int64]

_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 6: 4}  # PNG colour type -> R, G, B and perhaps alpha
_MAX_PAIRS = 4096  # room for the pairs of two maps; with more, numpy counts


def read_id_map(png: bytes) -> IdMap:
    """Segment ids R + 256 G + 256^2 B [H, W] of a panoptic PNG."""
    library = load("cpp")
    rows = None if isinstance(library, str) else _plain_rows(png)
    if rows is None:
        with Image.open(io.BytesIO(png)) as image:
            rgb = np.asarray(image.convert("RGB")).astype(np.int32)
        return rgb[..., 0] | rgb[..., 1] << 8 | rgb[..., 2] << 16
    content, height, width, channels = rows
    ids = np.empty((height, width), dtype=np.int32)
    code = library.freeseg_png_ids(  # type: ignore[union-attr]
        _address(content), *map(ctypes.c_int64, (height, width, channels)), _address(ids)
    )
    if code:
        raise ValueError("the PNG is broken: it has a row of unknown filter")
    return ids


def count_pairs(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Pairs, Pairs, Pairs]:
    """Which ids of two maps [H, W] lie on each other and at how many pixels, [N] each."""
    one = np.ascontiguousarray(first, dtype=np.int32)
    other = np.ascontiguousarray(second, dtype=np.int32)
    if one.shape != other.shape:
        raise ValueError(f"wanted two maps of one size, got {one.shape} and {other.shape}")
    library = load("cpp")
    if not isinstance(library, str):
        count = library.freeseg_count_pairs
        count.restype = ctypes.c_int64
        rows = np.empty((_MAX_PAIRS, 3), dtype=np.int64)
        sizes = map(ctypes.c_int64, (one.size, _MAX_PAIRS))
        number = count(_address(one), _address(other), *sizes, _address(rows))
        if number <= _MAX_PAIRS:
            found = rows[:number]
            return found[:, 0], found[:, 1], found[:, 2]
    keys, counts = np.unique(one.astype(np.int64) << 32 | other, return_counts=True)
    return keys >> 32, keys & (2**32 - 1), counts


def _plain_rows(png: bytes) -> tuple[npt.NDArray[np.uint8], int, int, int] | None:
    """Inflated rows, height, width and channels of an RGB or RGBA PNG of 8 bits, else None."""
    if png[:8] != _PNG or len(png) < 33:
        return None
    width, height, depth, kind, _, _, is_interlaced = struct.unpack(">IIBBBBB", png[16:29])
    if depth != 8 or kind not in _CHANNELS or is_interlaced:
        return None
    parts, place = [], 33
    while place + 8 <= len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            parts.append(png[place + 8 : place + 8 + size])
        place += size + 12
    expected = height * (1 + width * _CHANNELS[kind])
    content = bytearray(zlib.decompress(b"".join(parts), bufsize=expected))
    if len(content) != expected:
        return None
    return np.frombuffer(content, dtype=np.uint8), height, width, _CHANNELS[kind]


def _address(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)

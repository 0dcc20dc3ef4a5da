"""Image files that EXIF turns and that Pillow does not write."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from PIL import Image


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_with_exif(pixels: np.ndarray, orientation: int, *, is_late: bool = False) -> bytes:
    """A PNG with its EXIF before the pixels, or behind them as some programs write it."""
    content = cv2.imencode(".png", pixels)[1].tobytes()
    place = len(content) - 12 if is_late else 33  # before IEND or behind IHDR
    exif = chunk(b"eXIf", exif_of(orientation).tobytes()[6:])
    return content[:place] + exif + content[place:]


def deep_tiff(pixels: np.ndarray, orientation: int) -> bytes:
    """An uncompressed TIFF of 16-bit RGB."""
    height, width, channels = pixels.shape
    data = pixels.astype("<u2").tobytes()
    behind = 8 + 2 + 10 * 12 + 4
    entries = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, behind), (259, 3, 1, 1)),
        *((262, 3, 1, 2), (273, 4, 1, behind + 6), (274, 3, 1, orientation)),
        *((277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data))),
    ]
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", 0)
    return head + struct.pack("<3H", 16, 16, 16) + data

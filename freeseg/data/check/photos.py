"""Photos of a dataset: there, whole, as large as the annotation says, and read rightly.

Sizes are (height, width).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freeseg.data.check.facts import Fact, facts_of
from freeseg.data.problems import Problems
from freeseg.data.records import identity_of, photo_of
from freeseg.image_headers import ImageHeader, camera_bits, read_header
from freeseg.images import ImageError, deepest_value, read_image

Record = Mapping[str, Any]

MAX_DEEP = 32  # 16-bit photos that are decoded to see how bright they get
_TAIL = 64  # bytes at the end of a file that are looked at


def check_photos(
    name: str, records: Sequence[Record], problems: Problems, *, frame: str, white_level: int
) -> dict[str, ImageHeader]:
    """Looks at the header and at the end of every photo; returns the headers of whole ones.

    Args:
        name: Of the dataset, for messages.
        records: With "file_name", and perhaps "height" and "width".
        problems: Gets what is wrong.
        frame: INPUT.EXIF.
        white_level: INPUT.WHITE_LEVEL.
    """
    photos = list(dict.fromkeys(photo_of(record) for record in records))
    facts = facts_of(photos, look_at_photo, "photos", f"photos of {name}")
    headers: dict[str, ImageHeader] = {}
    for photo in photos:
        fact = facts.get(photo)
        reason = "does not exist" if fact is None else fact["problem"]
        if fact is None or reason:
            problems.error("photos that cannot be read", f"{name}: {photo} {reason}")
            continue
        size = fact["height"], fact["width"]
        headers[photo] = ImageHeader(size, fact["orientation"], fact["is_deep"])
    for record in records:
        header = headers.get(photo_of(record))
        if header is not None and {"height", "width"} <= set(record):
            _check_size(name, record, header, frame, problems)
    if frame == "auto":
        _warn_of_orientation(name, headers, problems)
    _warn_of_depth(name, headers, white_level, problems)
    return headers


def look_at_photo(path: str) -> Fact:
    """Size, orientation and depth of a photo; "problem" says why it cannot be used, or is ""."""
    header = read_header(path)
    if header is None or not _ends_well(path):
        try:
            read_image(path)
        except ImageError as error:
            return {"problem": error.reason}
        header = header or ImageHeader((0, 0))
    height, width = header.stored_size
    return {
        "problem": "",
        "height": height,
        "width": width,
        "orientation": header.orientation,
        "is_deep": header.is_deep,
    }


def _ends_well(path: str) -> bool:
    """Whether a file has the end of its format; where one is not known, decoding must tell."""
    with open(path, "rb") as file:
        start = file.read(16)
        length = file.seek(0, 2)
        file.seek(max(0, length - _TAIL))
        tail = file.read()
    if start.startswith(b"\xff\xd8"):
        return tail.rstrip(b"\0\r\n ").endswith(b"\xff\xd9")
    if start.startswith(b"\x89PNG"):
        return b"IEND" in tail
    if start.startswith(b"GIF8"):
        return tail.rstrip(b"\0").endswith(b";")
    if start.startswith(b"RIFF"):
        return bool(struct.unpack_from("<I", start, 4)[0] + 8 <= length)
    if start.startswith(b"BM"):
        return bool(0 < struct.unpack_from("<I", start, 2)[0] <= length)
    return False


def _check_size(
    name: str, record: Record, header: ImageHeader, frame: str, problems: Problems
) -> None:
    possible = {
        "upright": [header.upright_size],
        "stored": [header.stored_size],
        "auto": [header.upright_size, header.stored_size],
    }[frame]
    size = record["height"], record["width"]
    if size not in possible:
        height, width = possible[0]
        hint = ": swapped" if size == (width, height) else ""
        problems.error(
            "sizes",
            f"{name}: {photo_of(record)} is {width}x{height} pixels (width x height), its "
            f"annotation says {size[1]}x{size[0]}{hint}",
        )


def _warn_of_orientation(name: str, headers: Mapping[str, ImageHeader], problems: Problems) -> None:
    unclear = [photo for photo, header in headers.items() if header.is_ambiguous]
    if unclear:
        problems.warn(
            "EXIF",
            f"{name}: EXIF's orientation turns {len(unclear)} of {len(headers)} photos, such as "
            f"{Path(unclear[0]).name}, whose size is the same both ways: their annotation is "
            "taken for the upright picture; INPUT.EXIF stored takes it for the pixels as they "
            "lie in the file",
        )


def _warn_of_depth(
    name: str, headers: Mapping[str, ImageHeader], white_level: int, problems: Problems
) -> None:
    deep = [photo for photo, header in headers.items() if header.is_deep]
    some = deep[:: max(1, len(deep) // MAX_DEEP)][:MAX_DEEP]
    brightest = max((value for value in map(deepest_value, some) if value is not None), default=0)
    bits = camera_bits(brightest)
    if bits is not None and (1 << bits) - 1 < white_level:
        problems.warn(
            "16-bit photos",
            f"{name}: {len(deep)} photos have 16 bits per value, such as {Path(some[0]).name}, "
            f"and none of {len(some)} is brighter than {brightest}: if the camera has {bits} "
            f"bits, say INPUT.WHITE_LEVEL {(1 << bits) - 1}; {white_level} is taken for white, "
            f"and {max(1, brightest * 256 // white_level)} of 256 grey levels are left",
        )


def check_twins(name: str, records: Sequence[Record], problems: Problems, *, is_test: bool) -> None:
    """Names photos that several records have: each shows the others' objects as background."""
    names: dict[str, list[str]] = {}
    for record in records:
        names.setdefault(identity_of(record), []).append(photo_of(record))
    twins = [several for several in names.values() if len(several) > 1]
    if not twins:
        return
    shown = " and ".join(dict.fromkeys(twins[0]))
    line = (
        f"{name}: {len(twins)} photos are listed more than once, such as {shown} "
        f"({len(twins[0])} times): each record takes the others' objects for background; "
        "DATASETS.MERGE_TWINS True puts them together"
    )
    if is_test:
        problems.error("photos listed twice", line)
    else:
        problems.warn("photos listed twice", line)

"""Which photos and videos the arguments of a command name."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Union
from urllib.parse import urlsplit

from freeseg.images import IMAGE_SUFFIXES, is_web_address

Photo = Union[Path, str]  # a text is a web address, which a path would change

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})


def is_video(path: Photo) -> bool:
    """Whether a file is taken for a video, by its suffix."""
    return isinstance(path, Path) and path.suffix.lower() in VIDEO_SUFFIXES


def find_photos(arguments: Sequence[str]) -> list[Photo]:
    """Returns what files, folders, patterns and web addresses name, each once, in order.

    A folder stands for the image and video files directly in it, sorted. A name that nothing
    matches is returned as it is, so that reading it says what is wrong.
    """
    photos: dict[Photo, None] = {}
    for argument in arguments:
        photos.update(dict.fromkeys([argument] if is_web_address(argument) else _find(argument)))
    return list(photos)


def unique_stems(photos: Sequence[Photo]) -> list[str]:
    """Returns one file name stem per photo; where two are the same, later ones get a number."""
    stems: list[str] = []
    taken: set[str] = set()
    for photo in photos:
        path = photo if isinstance(photo, Path) else Path(urlsplit(photo).path)
        first = stem = path.stem or "photo"
        number = 1
        while stem.lower() in taken:  # file systems may ignore the case
            number += 1
            stem = f"{first}_{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _find(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        return sorted(_images_in(path)) or [path]
    if not path.exists() and glob.has_magic(argument):
        matches = (Path(match) for match in sorted(glob.glob(argument, recursive=True)))
        return [match for match in matches if match.is_file()] or [path]
    return [path]


def _images_in(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if (path.suffix.lower() in IMAGE_SUFFIXES or is_video(path))
        and not path.name.startswith(".")
    ]

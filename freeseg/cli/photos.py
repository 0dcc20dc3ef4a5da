"""Which photos and videos the arguments of a command name."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from freeseg.data.photos import Photo
from freeseg.images import IMAGE_SUFFIXES, is_web_address

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


def what_is_nested(folder: Path) -> str:
    """What a message says of a folder whose photos and videos lie in folders in it; else ""."""
    inside = (Path(parent) for parent, _, _ in os.walk(folder) if Path(parent) != folder)
    count = sum(len(_images_in(each)) for each in inside)
    if not count:
        return ""
    return f" itself, but folders in it hold {count}: name these folders, or a quoted pattern"


def common_folder(arguments: Sequence[str]) -> Path:
    """Returns the folder that holds all files which arguments name; web addresses are in none.

    That of a folder is itself, of a pattern what stands before its first wildcard.
    """
    folders = [_folder_of(argument) for argument in arguments if not is_web_address(argument)]
    try:
        return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))
    except ValueError:  # none, or on two drives
        return Path(os.path.abspath(os.sep))


def _folder_of(argument: str) -> Path:
    path = Path(argument)
    if path.is_dir():
        return path
    plain = path.parent
    while not path.exists() and glob.has_magic(str(plain)):
        plain = plain.parent
    return plain


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

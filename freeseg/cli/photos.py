"""Which photos and videos the arguments of a command name."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from freeseg.images import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_photos(arguments: Sequence[str]) -> list[Path]:
    """Returns the photos and videos that files, folders and patterns name, each once, in order.

    A folder stands for the image and video files directly in it, sorted. A name that nothing
    matches is returned as it is, so that reading it says what is wrong.
    """
    photos: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        found = [path]
        if path.is_dir():
            found = sorted(_images_in(path)) or [path]
        elif not path.exists() and glob.has_magic(argument):
            matches = (Path(match) for match in sorted(glob.glob(argument, recursive=True)))
            found = [match for match in matches if match.is_file()] or [path]
        photos.update(dict.fromkeys(found))
    return list(photos)


def unique_stems(photos: Sequence[Path]) -> list[str]:
    """Returns one file name stem per photo; where two are the same, later ones get a number."""
    stems: list[str] = []
    taken: set[str] = set()
    for photo in photos:
        stem, number = photo.stem, 1
        while stem.lower() in taken:  # file systems may ignore the case
            number += 1
            stem = f"{photo.stem}_{number}"
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def _images_in(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if (path.suffix.lower() in IMAGE_SUFFIXES or is_video(path))
        and not path.name.startswith(".")
    ]

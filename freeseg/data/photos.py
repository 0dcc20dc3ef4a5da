"""The photos of dataset records: read in the frame of their annotation, named apart.

Shapes: H W photo size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from detectron2.utils.file_io import PathManager
from freeseg.config import completed
from freeseg.image_headers import read_header
from freeseg.images import FULL_WHITE, IMAGE_SUFFIXES, RgbImage, read_image

FRAMES = ("auto", "upright", "stored")
Photo = Path | str  # a text is a web address, which a path would change

_LABELS = ("pan_seg_file_name", "sem_seg_file_name")  # PNGs as large as the photo


@dataclass(frozen=True)
class PhotoReader:
    """Reads photos as a configuration says.

    Attributes:
        frame: "upright" applies EXIF's orientation, "stored" ignores it; "auto" ignores it where
            the annotation has the size of the stored pixels and not that of the upright photo.
        white_level: The value of 16-bit photos that is white.
    """

    frame: str = "auto"
    white_level: int = FULL_WHITE

    def __post_init__(self) -> None:
        if self.frame not in FRAMES:
            raise ValueError(f"INPUT.EXIF is one of {', '.join(FRAMES)}, got {self.frame!r}")
        if not 1 <= self.white_level <= FULL_WHITE:
            raise ValueError(
                f"INPUT.WHITE_LEVEL is a number from 1 to {FULL_WHITE}, got {self.white_level}"
            )

    @classmethod
    def from_config(cls, cfg: Any) -> PhotoReader:
        """As INPUT.EXIF and INPUT.WHITE_LEVEL say."""
        cfg = completed(cfg)
        return cls(cfg.INPUT.EXIF, cfg.INPUT.WHITE_LEVEL)

    def read(self, record: Mapping[str, Any]) -> RgbImage:
        """The photo of a Detectron2 record, RGB [H, W, 3], in the frame of its annotation."""
        size = annotated_size(record) if self.frame == "auto" else None
        return self.read_file(record["file_name"], size)

    def read_file(
        self, file_name: str | os.PathLike[str], annotated: tuple[int, int] | None = None
    ) -> RgbImage:
        """A photo [H, W, 3] whose annotation is (height, width) large, None where nobody knows."""
        path = PathManager.get_local_path(os.fspath(file_name))
        upright = self.frame == "upright" or (
            self.frame == "auto" and not _is_as_stored(path, annotated)
        )
        return read_image(path, upright=upright, white_level=self.white_level)


def annotated_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of a record's annotation: what it says, else that of its PNG."""
    if "height" in record and "width" in record:
        return record["height"], record["width"]
    for key in _LABELS:
        if key in record:
            header = read_header(PathManager.get_local_path(record[key]))
            if header is not None:
                return header.stored_size
    return None


def name_under(root: Path, photo: str | os.PathLike[str]) -> str:
    """What annotation calls a photo of a folder, with forward slashes; its whole path elsewhere."""
    path = Path(os.path.abspath(photo))
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def unique_stems(photos: Sequence[Photo]) -> list[str]:
    """Returns one file name stem per photo; where two are the same, later ones get a number."""
    names = UniqueStems()
    return [names.add(photo) for photo in photos]


class UniqueStems:
    """Names files after photos, as `unique_stems` does, one at a time."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def add(self, photo: Photo) -> str:
        """The stem of a photo's file name, with a number where an earlier photo has it."""
        path = photo if isinstance(photo, Path) else Path(urlsplit(photo).path)
        first = stem = path.stem or "photo"
        number = 1
        while stem.lower() in self._taken:  # file systems may ignore the case
            number += 1
            stem = f"{first}_{number}"
        self._taken.add(stem.lower())
        return stem


def _is_as_stored(path: str, annotated: tuple[int, int] | None) -> bool:
    """Whether an annotation of a size can only be of a photo's pixels as they lie in the file."""
    header = read_header(path) if annotated is not None else None
    return header is not None and header.upright_size != annotated == header.stored_size


def images_in(folder: Path) -> list[Path]:
    """The files directly in a folder that are taken for pictures, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)

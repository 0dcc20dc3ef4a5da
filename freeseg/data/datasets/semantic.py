"""Datasets of images with one semantic PNG each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from freeseg.data.categories import Category, metadata
from freeseg.data.datasets.catalog import IGNORE_LABEL, Records, register
from freeseg.data.datasets.json_rows import MissingDataError, require_file

JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class SemanticFiles:
    """Where a dataset with semantic PNGs lies; labels are contiguous, 255 is ignored."""

    image_root: Path
    sem_seg_root: Path
    hint: str

    def names(self) -> list[str]:
        """Names of the PNGs without suffix, in a fixed order."""
        if not self.sem_seg_root.is_dir():
            raise MissingDataError(f"{self.sem_seg_root} does not exist; {self.hint}")
        return sorted(path.stem for path in self.sem_seg_root.glob("*.png"))


def register_semantic(
    name: str,
    files: SemanticFiles,
    categories: Sequence[Category],
    ignore_label: int = IGNORE_LABEL,
) -> None:
    """Register a dataset that has semantic ground truth only."""
    values = {
        "image_root": str(files.image_root),
        "sem_seg_root": str(files.sem_seg_root),
        "evaluator_type": "sem_seg",
        "ignore_label": ignore_label,
        **metadata(categories),
    }
    register(name, lambda _: load_semantic(files), values)


def load_semantic(files: SemanticFiles) -> Records:
    """Detectron2 records of the pairs of image and PNG."""
    photos = _photos_in(files.image_root)
    records = [
        {
            "file_name": str(files.image_root / photos.get(name, f"{name}.jpg")),
            "sem_seg_file_name": str(files.sem_seg_root / f"{name}.png"),
            "image_id": name,
        }
        for name in files.names()
    ]
    if not records:
        raise FileNotFoundError(f"no PNGs in {files.sem_seg_root}; {files.hint}")
    for path in (records[0]["file_name"], records[0]["sem_seg_file_name"]):
        require_file(path, files.hint)
    return records


def _photos_in(folder: Path) -> dict[str, str]:
    """File names of JPEGs by what stands before the suffix, which may be in capitals."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return {Path(name).stem: name for name in names if Path(name).suffix.lower() in JPEG_SUFFIXES}

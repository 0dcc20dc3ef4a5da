"""Mapillary Vistas' panoptic annotation where the download has none: from its instance labels.

Shapes: H W image size.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from freeseg.data.categories import load_categories
from freeseg.data.panoptic import IdMap, LabelMap, segment_geometry
from freeseg.data.prepare.job import Job, find, require
from freeseg.data.prepare.labels import read_labels
from freeseg.data.prepare.panoptic import write_panoptic, write_segments

FOLDERS = {"train": "training", "val": "validation"}
HINT = (
    "download Mapillary Vistas 1.2 from mapillary.com/dataset/vistas and unpack it here, so that "
    "training/ and validation/ hold images/, labels/ and instances/ (or panoptic/)"
)
NUMBERS = 256  # a value of the instance PNG is class * 256 + number of the instance in the image

TABLE = "mapillary_vistas"  # of the categories

Json = dict[str, Any]
logger = logging.getLogger(__name__)


def prepare_panoptic(job: Job) -> None:
    """Write {training,validation}/panoptic/, unless the download brought it."""
    for split in job.splits:
        folder = job.source / FOLDERS[split]
        json_file = job.output / FOLDERS[split] / "panoptic" / "panoptic_2018.json"
        if json_file.is_file():
            logger.info("%s is there already", json_file)
            continue
        require([folder / "images", folder / "instances"], HINT)
        files = find(folder / "instances", "*.png", HINT)
        target, title = json_file.parent, f"mapillary {split}"
        write_panoptic(json_file, target, _write_one, files, job.workers, TABLE, title)


def panoptic_from_instances(values: LabelMap) -> tuple[IdMap, list[Json]]:
    """Segment ids and segments of an instance PNG [H, W]; unlabelled pixels are void.

    Every instance of a thing is a segment, and so is all of a stuff class.
    """
    categories = load_categories(TABLE)
    labels = values.astype(np.int32) // NUMBERS
    if labels.max(initial=0) > len(categories):
        raise ValueError(f"Mapillary labels are 0..{len(categories)}, got {labels.max()}")
    is_thing = np.array([row.is_thing for row in categories] + [False])
    is_labelled = labels < len(categories)
    number = np.where(is_thing[labels], values % NUMBERS, 0)
    ids: IdMap = np.where(is_labelled, 1 + labels * NUMBERS + number, 0).astype(np.int32)
    segments = [
        {
            "id": key,
            "category_id": categories[(key - 1) // NUMBERS].id,
            "iscrowd": 0,
            "area": area,
            "bbox": box,
        }
        for key, (area, box) in segment_geometry(ids).items()
    ]
    return ids, segments


def _write_one(file: Path, output: Path) -> tuple[Json, Json]:
    values = read_labels(file)
    if values.ndim != 2:
        raise ValueError(f"{file} must be a one-channel PNG, got {list(values.shape)}")
    found = panoptic_from_instances(values)
    return write_segments(output / file.name, file.stem, f"{file.stem}.jpg", *found)

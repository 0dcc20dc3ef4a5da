"""Cityscapes' 19-class label PNGs and panoptic annotation, as its own scripts make them.

Shapes: H W image size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from freeseg.data.categories import load_categories
from freeseg.data.panoptic import IdMap, LabelMap, segment_geometry
from freeseg.data.prepare.job import Job, find, require
from freeseg.data.prepare.labels import read_labels, recode, value_table
from freeseg.data.prepare.panoptic import write_panoptic, write_segments

HINT = (
    "download gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip from "
    "cityscapes-dataset.com and unpack them here"
)
# in an instanceIds PNG, values from 1000 on are label id * 1000 + instance number; below it is a
# label id alone: stuff, or a group of things that was not separated
INSTANCE_BASE = 1000

Json = dict[str, Any]


def prepare_semantic(job: Job) -> None:
    """Write *_gtFine_labelTrainIds.png beside every *_gtFine_labelIds.png."""
    table = value_table({row.id: index for index, row in enumerate(load_categories("cityscapes"))})
    for split in job.splits:
        pairs = []
        for source in _label_files(job, split, "labelIds"):
            name = source.name.replace("_labelIds.png", "_labelTrainIds.png")
            pairs.append((source, job.output / "gtFine" / split / source.parent.name / name))
        recode(pairs, table, job.workers, f"cityscapes labelTrainIds {split}")


def prepare_panoptic(job: Job) -> None:
    """Write gtFine/cityscapes_panoptic_{train,val}.json and its folder of PNGs."""
    sources = {split: _label_files(job, split, "instanceIds") for split in job.splits}
    for split, files in sources.items():
        folder = job.output / "gtFine" / f"cityscapes_panoptic_{split}"
        json_file, title = folder.with_suffix(".json"), f"cityscapes panoptic {split}"
        write_panoptic(json_file, folder, _write_one, files, job.workers, "cityscapes", title)


def panoptic_from_instance_ids(instance_ids: LabelMap) -> tuple[IdMap, list[Json]]:
    """Segment ids (the instanceIds of evaluated classes, else 0) and segments."""
    is_thing = {row.id: row.is_thing for row in load_categories("cityscapes")}
    present = np.unique(instance_ids)
    labels = np.where(present < INSTANCE_BASE, present, present // INSTANCE_BASE)
    evaluated = present[np.isin(labels, list(is_thing))]
    ids: IdMap = np.where(np.isin(instance_ids, evaluated), instance_ids, 0).astype(np.int32)
    segments = []
    for segment_id, (area, box) in segment_geometry(ids).items():
        is_group = segment_id < INSTANCE_BASE
        label = segment_id if is_group else segment_id // INSTANCE_BASE
        segments.append(
            {
                "id": segment_id,
                "category_id": label,
                "iscrowd": int(is_group and is_thing[label]),
                "area": area,
                "bbox": box,
            }
        )
    return ids, segments


def _label_files(job: Job, split: str, kind: str) -> list[Path]:
    folder = job.source / "gtFine" / split
    require([folder], HINT)
    return find(folder, f"*/*_gtFine_{kind}.png", HINT)


def _write_one(source: Path, output: Path) -> tuple[Json, Json]:
    found = panoptic_from_instance_ids(read_labels(source).astype(np.int32))
    image_id = source.name.replace("_gtFine_instanceIds.png", "")
    png = output / f"{image_id}_gtFine_panoptic.png"
    return write_segments(png, image_id, f"{image_id}_leftImg8bit.png", *found)

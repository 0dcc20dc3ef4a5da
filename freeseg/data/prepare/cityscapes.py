"""Cityscapes' 19-class label PNGs and panoptic annotation, as its own scripts make them.

Shapes: H W image size.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from freeseg.data.categories import load_categories
from freeseg.data.coco_writer import write_json, write_png
from freeseg.data.panoptic import IdMap, LabelMap, id2rgb, segment_geometry
from freeseg.data.prepare.job import Job, MissingFilesError, parallel_map, require
from freeseg.data.prepare.labels import read_labels, recode, value_table

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
        output = job.output / "gtFine" / f"cityscapes_panoptic_{split}"
        output.mkdir(parents=True, exist_ok=True)
        work = functools.partial(_write_panoptic, output=output)
        found = parallel_map(work, files, job.workers, f"cityscapes panoptic {split}")
        content = {
            "images": [image for image, _ in found],
            "annotations": [annotation for _, annotation in found],
            "categories": [row.to_json() for row in load_categories("cityscapes")],
        }
        write_json(output.with_name(f"{output.name}.json"), content)


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
    files = sorted(folder.glob(f"*/*_gtFine_{kind}.png"))
    if not files:
        raise MissingFilesError([folder / "*" / f"*_gtFine_{kind}.png"], HINT)
    return files


def _write_panoptic(source: Path, output: Path) -> tuple[Json, Json]:
    """Write the PNG; return the image's and the annotation's row."""
    ids, segments = panoptic_from_instance_ids(read_labels(source).astype(np.int32))
    image_id = source.name.replace("_gtFine_instanceIds.png", "")
    name = f"{image_id}_gtFine_panoptic.png"
    write_png(output / name, id2rgb(ids)[..., ::-1])
    height, width = ids.shape
    image = {
        "id": image_id,
        "file_name": f"{image_id}_leftImg8bit.png",
        "height": height,
        "width": width,
    }
    return image, {"image_id": image_id, "file_name": name, "segments_info": segments}

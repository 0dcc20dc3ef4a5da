"""ADE20K's SceneParse150: labels from 0, and its instance challenge as COCO and panoptic JSON.

Shapes: H W image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from freeseg.data.categories import load_categories
from freeseg.data.coco_writer import encode_rle, write_json
from freeseg.data.panoptic import IdMap, LabelMap, measured_segments, segment_geometry
from freeseg.data.photos import images_in
from freeseg.data.prepare.job import Job, MissingFilesError, find, parallel_map, require
from freeseg.data.prepare.labels import read_labels, recode, value_table
from freeseg.data.prepare.panoptic import image_row, write_panoptic, write_segments

FOLDERS = {"train": "training", "val": "validation"}
SEMANTIC_HINT = (
    "download ADEChallengeData2016.zip from sceneparsing.csail.mit.edu and unpack it here"
)
INSTANCE_HINT = (
    "download annotations_instance.tar of ChallengeData2017 from sceneparsing.csail.mit.edu and "
    "unpack it here"
)

Json = dict[str, Any]


@dataclass(frozen=True)
class Files:
    """The files of one image."""

    image_id: str
    photo: str  # its name
    semantic: Path
    instance: Path


def prepare_semantic(job: Job) -> None:
    """Write annotations_detectron2/: classes from 0, and 255 where the original has 0."""
    folders = [FOLDERS[split] for split in job.splits]
    sources = {folder: job.source / "annotations" / folder for folder in folders}
    require(sources.values(), SEMANTIC_HINT)
    table = value_table({value: value - 1 for value in range(1, 151)})
    for folder, source in sources.items():
        output = job.output / "annotations_detectron2" / folder
        pairs = [(file, output / file.name) for file in find(source, "*.png", SEMANTIC_HINT)]
        recode(pairs, table, job.workers, f"ade20k semantic {folder}")


def prepare_instances(job: Job) -> None:
    """Write ade20k_instance_{train,val}.json: COCO instances of the 100 things."""
    things = [row.to_json() for row in load_categories("ade20k") if row.is_thing]
    for split, files in _all_files(job).items():
        found = parallel_map(_read_instances, files, job.workers, f"ade20k instance {split}")
        annotations: list[Json] = []
        for _, rows in found:
            annotations += [{"id": len(annotations) + i, **row} for i, row in enumerate(rows, 1)]
        content = {
            "images": [image for image, _ in found],
            "annotations": annotations,
            "categories": things,
        }
        write_json(job.output / f"ade20k_instance_{split}.json", content)


def prepare_panoptic(job: Job) -> None:
    """Write ade20k_panoptic_{train,val}: the stuff of the semantic labels under the instances.

    Unlike the files that Mask2Former's script makes, "area" and "bbox" are those of what is visible
    in the PNG, and a stuff segment that instances cover completely is left out.
    """
    for split, files in _all_files(job).items():
        folder, title = job.output / f"ade20k_panoptic_{split}", f"ade20k panoptic {split}"
        json_file = folder.with_suffix(".json")
        write_panoptic(json_file, folder, _write_one, files, job.workers, "ade20k", title)


def panoptic_from_labels(semantic: LabelMap, instance: LabelMap) -> tuple[IdMap, list[Json]]:
    """Segment ids and segments of original semantic [H, W] and instance [H, W, 3] labels.

    The instance PNG's red channel is the thing class 1..100, in the order of the things among the
    150 classes; its green channel numbers the instances of the image from 1.
    """
    things = [row.id for row in load_categories("ade20k") if row.is_thing]
    ids = np.zeros(semantic.shape, dtype=np.int32)
    categories: dict[int, int] = {}
    for label in np.unique(semantic).tolist():
        if label != 0 and label - 1 not in things:
            categories[len(categories) + 1] = label - 1
            ids[semantic == label] = len(categories)
    for number, thing in _instances(instance):
        categories[len(categories) + 1] = things[thing - 1]
        ids[instance[..., 1] == number] = len(categories)
    segments = ({"id": key, "category_id": label} for key, label in categories.items())
    return ids, measured_segments(ids, segments)


def _all_files(job: Job) -> dict[str, list[Files]]:
    """Files of every image by split; all are checked before anything is written."""
    result: dict[str, list[Files]] = {}
    for split in job.splits:
        folder = FOLDERS[split]
        images = job.source / "images" / folder
        semantic = job.source / "annotations" / folder
        instance = job.source / "annotations_instance" / folder
        require([images, semantic], SEMANTIC_HINT)
        require([instance], INSTANCE_HINT)
        photos = images_in(images)
        if not photos:
            raise MissingFilesError([images / "*.jpg"], SEMANTIC_HINT)
        files = [
            Files(
                image_id=photo.stem,
                photo=photo.name,
                semantic=semantic / f"{photo.stem}.png",
                instance=instance / f"{photo.stem}.png",
            )
            for photo in photos
        ]
        require([file.semantic for file in files], SEMANTIC_HINT)
        require([file.instance for file in files], INSTANCE_HINT)
        result[split] = files
    return result


def _read_instances(files: Files) -> tuple[Json, list[Json]]:
    """The image's row and its annotations' rows, without annotation ids."""
    things = [row.id for row in load_categories("ade20k") if row.is_thing]
    instance = read_labels(files.instance)
    numbers: IdMap = instance[..., 1].astype(np.int32)
    geometry = segment_geometry(numbers)
    rows = [
        {
            "image_id": files.image_id,
            "category_id": things[thing - 1],
            "iscrowd": 0,
            "area": geometry[number][0],
            "bbox": geometry[number][1],
            "segmentation": encode_rle(numbers == number),
        }
        for number, thing in _instances(instance)
    ]
    return image_row(files.image_id, files.photo, instance.shape), rows


def _write_one(files: Files, output: Path) -> tuple[Json, Json]:
    found = panoptic_from_labels(read_labels(files.semantic), read_labels(files.instance))
    png = output / f"{files.image_id}.png"
    return write_segments(png, files.image_id, files.photo, *found)


def _instances(instance: LabelMap) -> list[tuple[int, int]]:
    """(number, thing class from 1) of every instance."""
    pairs = np.unique(instance[..., [1, 0]].reshape(-1, 2), axis=0)
    pairs = pairs[pairs[:, 0] > 0]
    if len(np.unique(pairs[:, 0])) != len(pairs) or (pairs[:, 1] == 0).any():
        raise ValueError("an instance number of annotations_instance has no unique class")
    return [(int(number), int(thing)) for number, thing in pairs]

"""COCO annotation files of many photos' results, to correct and to train on.

Shapes: H W photo size.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from freeseg.data.coco_writer import write_json
from freeseg.data.panoptic import id2rgb
from freeseg.data.photos import UniqueStems
from freeseg.files import write_bytes
from freeseg.visualization.export import category_rows, image_row, png_bytes, segment_rows
from freeseg.visualization.photo_result import Instances, PhotoResult
from freeseg.visualization.stored_masks import segmentation_of

Json = dict[str, Any]

INSTANCES_FILE = "annotations_instances.json"
PANOPTIC_FILE = "annotations_panoptic.json"
PANOPTIC_FOLDER = "annotations_panoptic"


class AnnotationFiles:
    """Collects results of one model and writes one COCO annotation file per task.

    Under `folder`: `annotations_instances.json`; `annotations_panoptic.json` and its PNGs in
    `annotations_panoptic/`. Masks are kept as run-length codes and PNGs written at once, so memory
    does not grow with the photos' pixels; the JSON files are written by `save`, each whole.
    """

    def __init__(self, folder: str | os.PathLike[str], *, min_score: float = 0.5) -> None:
        """Takes the folder, made when needed, and the least score of an instance."""
        self._folder = Path(folder)
        self._min_score = min_score
        self._stems = UniqueStems()
        self._file_names: set[str] = set()
        self._instances = _Content()
        self._panoptic = _Content()

    def add(self, result: PhotoResult, file_name: str | None = None) -> None:
        """Adds the instances and the panoptic segments that a photo's result has.

        Args:
            result: Of one photo; all that are added have the same classes.
            file_name: The photo as it is found under the data set's folder of photos, with forward
                slashes; the result's own name when None. A photo that is there is not added again.

        Raises:
            ValueError: The photo has no name, or the classes are others.
        """
        name = file_name or result.file_name
        if not name:
            raise ValueError("an annotation file names photos: pass file_name, the photo has none")
        if name in self._file_names:
            return
        image = image_row(result, len(self._file_names) + 1, name)
        categories = category_rows(result.vocabulary, result.category_ids)
        if result.panoptic is not None:
            segments = self._write_segments(result, image)  # may fail: nothing is added before it
            self._panoptic.add(image, [segments], categories)
        if result.instances is not None:
            things = [category for category in categories if category["isthing"]]
            ids = {"image_id": image["id"]}
            rows = enumerate(instance_rows(result, self._min_score), self._instances.count + 1)
            self._instances.add(image, [{"id": each, **ids, **row} for each, row in rows], things)
        self._file_names.add(name)

    def save(self) -> dict[str, Path]:
        """Writes the JSON files of the tasks that had results; returns their paths by task."""
        files = {
            "instance": (INSTANCES_FILE, self._instances),
            "panoptic": (PANOPTIC_FILE, self._panoptic),
        }
        paths = {}
        for task, (name, content) in files.items():
            if content.images:
                self._folder.mkdir(parents=True, exist_ok=True)
                paths[task] = self._folder / name
                content.write(paths[task])
        return paths

    def _write_segments(self, result: PhotoResult, image: Json) -> Json:
        """Writes a photo's panoptic PNG; returns COCO's annotation of it."""
        assert result.panoptic is not None
        png_name = f"{self._stems.add(Path(image['file_name']))}.png"
        folder = self._folder / PANOPTIC_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / png_name, png_bytes(id2rgb(result.panoptic.segment_ids)))
        segments = segment_rows(result)
        return {"image_id": image["id"], "file_name": png_name, "segments_info": segments}


def instance_rows(result: PhotoResult, min_score: float) -> list[Json]:
    """COCO's annotations of the things that are likely enough and have a pixel, yet without ids."""
    assert result.instances is not None
    found = result.instances
    rows: list[Json] = []
    for number, (label, score) in enumerate(zip(found.labels.tolist(), found.scores.tolist())):
        area = found.area(number)
        if score < min_score or not area or not result.vocabulary.is_thing[label]:
            continue
        row = {
            "category_id": result.category_ids[label],
            **segmentation_of(found.masks, number),
            "area": area,
            "bbox": _box(found, number),
            "iscrowd": 0,
            "score": round(score, 6),
        }
        rows.append(row)
    return rows


def _box(found: Instances, number: int) -> list[float]:
    """Left, top, width and height of a mask or, where there is none, of its box."""
    if found.masks is not None:
        return list(cv2.boundingRect(found.masks[number].view(np.uint8)))
    left, top, right, bottom = found.boxes[number].tolist()
    return [left, top, right - left, bottom - top]


class _Content:
    """Rows of one annotation file."""

    def __init__(self) -> None:
        self.images: list[Json] = []
        self._annotations: list[Json] = []
        self._categories: list[Json] = []

    @property
    def count(self) -> int:
        return len(self._annotations)

    def add(self, image: Json, annotations: list[Json], categories: list[Json]) -> None:
        if self.images and categories != self._categories:
            raise ValueError(f"{image['file_name']} was segmented into other classes than the rest")
        self.images.append(image)
        self._annotations += annotations
        self._categories = categories

    def write(self, path: Path) -> None:
        content = {
            "images": self.images,
            "annotations": self._annotations,
            "categories": self._categories,
        }
        write_json(path, content)

"""Panoptic evaluation by COCO's PQ, against segments whose areas are counted from their PNGs.

Shapes: H W image size.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from detectron2.evaluation import COCOPanopticEvaluator
from freeseg.catalog import dataset_metadata, replace_metadata
from freeseg.data.annotation_files import read_segment_ids
from freeseg.data.datasets.catalog import LABEL_DIVISOR
from freeseg.data.panoptic import measured_segments
from freeseg.data.photos import UniqueStems
from freeseg.evaluation.truth import Truth, write_truth


class PanopticEvaluator(COCOPanopticEvaluator):
    """Detectron2's evaluator over the segments that training reads.

    A predicted segment of a class that the dataset does not list is left out: its pixels are
    nobody's. Predictions of photos that have one name in different folders keep files of their own.
    """

    def __init__(self, truth: Truth, folder: Path) -> None:
        """Evaluates panoptic maps.

        Args:
            truth: What is compared with.
            folder: For predictions and ground truth.
        """
        self._listed = frozenset(n for n, is_listed in enumerate(truth.is_listed) if is_listed)
        self._names = _file_names(truth)
        root = os.path.commonpath([_folder_of(record) for record in truth.records])
        classes = {
            category: label
            for label, category in enumerate(truth.category_ids)
            if category is not None
        }
        view = f"{truth.name}/panoptic"
        path = folder / "panoptic_ground_truth.json"
        values = {
            "panoptic_json": write_truth(path, lambda: panoptic_content(truth, root)),
            "panoptic_root": root,
            "label_divisor": dataset_metadata(truth.name).get("label_divisor", LABEL_DIVISOR),
            # both have all classes: the model's flag of a class may be another than the dataset's
            "thing_dataset_id_to_contiguous_id": classes,
            "stuff_dataset_id_to_contiguous_id": classes,
        }
        replace_metadata(view, values)
        super().__init__(view, str(folder))

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        images = [{**image, "file_name": self._names[image["image_id"]]} for image in inputs]
        known = [{**row, "panoptic_seg": self._of_listed(*row["panoptic_seg"])} for row in outputs]
        super().process(images, known)

    def _of_listed(self, ids: torch.Tensor, segments: Any) -> tuple[torch.Tensor, Any]:
        """A prediction without the segments of classes that the dataset does not list."""
        others = [row["id"] for row in segments or () if row["category_id"] not in self._listed]
        if others:
            gone = torch.isin(ids, torch.as_tensor(others, device=ids.device))
            ids = ids.masked_fill(gone, 0)
            segments = [row for row in segments if row["category_id"] in self._listed]
        return ids, segments


def _folder_of(record: Mapping[str, Any]) -> str:
    return os.path.dirname(os.path.abspath(record["pan_seg_file_name"]))


def _file_names(truth: Truth) -> dict[Any, str]:
    """A name for every image's prediction: its photo's, with a number where others have it too."""
    names = UniqueStems()
    return {
        record["image_id"]: f"{names.add(Path(record['file_name']))}.png"
        for record in truth.records
    }


def panoptic_content(truth: Truth, root: str) -> dict[str, Any]:
    """A COCO panoptic annotation file of a dataset, whose PNGs lie below `root`.

    Areas and boxes are those of the PNGs; segments without a pixel are left out.
    """
    images, annotations = [], []
    for record in truth.records:
        ids = read_segment_ids(record)
        rows = [
            {**row, "category_id": truth.category_ids[row["category_id"]]}
            for row in measured_segments(ids, record["segments_info"])
        ]
        name = os.path.relpath(os.path.abspath(record["pan_seg_file_name"]), root)
        image_id, size = record["image_id"], {"height": ids.shape[0], "width": ids.shape[1]}
        photo = Path(record["file_name"]).name
        images.append({"id": image_id, "file_name": photo, **size})
        annotations.append({"image_id": image_id, "file_name": name, "segments_info": rows})
    vocabulary = truth.vocabulary
    categories = [
        {"id": category, "name": name, "isthing": int(is_thing)}
        for category, name, is_thing in zip(
            truth.category_ids, vocabulary.names, vocabulary.is_thing
        )
        if category is not None
    ]
    return {"images": images, "annotations": annotations, "categories": categories}

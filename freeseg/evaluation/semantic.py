"""Semantic evaluation, with ground truth from the panoptic annotation where no PNG exists.

Shapes: H W image size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import detection_utils as utils
from detectron2.evaluation import SemSegEvaluator
from freeseg.data.datasets.catalog import register
from freeseg.data.panoptic import LabelMap, panoptic_to_semantic, rgb2id


def build_semantic_evaluator(dataset_name: str, folder: Path) -> SemSegEvaluator:
    """Detectron2's SemSegEvaluator, reading semantic PNGs or else the panoptic annotation."""
    records = DatasetCatalog.get(dataset_name)
    if all("sem_seg_file_name" in record for record in records):
        return SemSegEvaluator(dataset_name, output_dir=str(folder))
    metadata = MetadataCatalog.get(dataset_name)
    view = f"{dataset_name}/semantic"
    pairs = [
        {"file_name": record["file_name"], "sem_seg_file_name": record["pan_seg_file_name"]}
        for record in records
    ]
    register(view, lambda: pairs, _semantic_metadata(metadata))
    reader = PanopticAsSemantic(records, metadata.ignore_label)
    return SemSegEvaluator(view, output_dir=str(folder), sem_seg_loading_fn=reader)


class PanopticAsSemantic:
    """Reads a panoptic PNG as a class map, as SemSegEvaluator reads a semantic PNG."""

    def __init__(self, records: list[dict[str, Any]], ignore_label: int) -> None:
        self._segments = {row["pan_seg_file_name"]: row["segments_info"] for row in records}
        self._ignore_label = ignore_label

    def __call__(self, file_name: str, dtype: Any = int) -> LabelMap:
        segments = self._segments[file_name]
        classes = {segment["category_id"]: segment["category_id"] for segment in segments}
        ids = rgb2id(utils.read_image(file_name, "RGB"))
        labels = panoptic_to_semantic(ids, segments, classes, self._ignore_label)
        return np.asarray(labels, dtype=dtype)  # [H, W]


def _semantic_metadata(metadata: Any) -> dict[str, Any]:
    keys = ("stuff_classes", "stuff_colors", "stuff_dataset_id_to_contiguous_id", "ignore_label")
    values = {key: metadata.get(key) for key in keys}
    return {key: value for key, value in values.items() if value is not None}

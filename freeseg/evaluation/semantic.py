"""Semantic evaluation, with ground truth from the panoptic annotation where no PNG exists.

Shapes: H W image size.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from detectron2.evaluation import SemSegEvaluator
from freeseg.data.annotation_files import read_class_map
from freeseg.data.datasets.catalog import register
from freeseg.data.panoptic import LabelMap
from freeseg.evaluation.table import classes_table
from freeseg.evaluation.truth import Truth

logger = logging.getLogger(__name__)

_CLASS_KEYS = ("IoU-{}", "ACC-{}", "BoundaryIoU-{}", "min(IoU, B-Iou)-{}")


class SemanticEvaluator(SemSegEvaluator):
    """Detectron2's SemSegEvaluator over the class maps that training reads.

    A pixel that is given to a class which the dataset does not list is wrong for its true class;
    such classes have no results of their own.
    """

    def __init__(self, truth: Truth, folder: Path) -> None:
        """Evaluates class maps.

        Args:
            truth: What is compared with.
            folder: For predictions.
        """
        names, listed = truth.vocabulary.names, truth.is_listed
        self._unlisted = [name for name, is_listed in zip(names, listed) if not is_listed]
        self._records = {record["file_name"]: record for record in truth.records}
        photos = [{"file_name": name, "sem_seg_file_name": name} for name in self._records]
        # Detectron2 wants an id for every class; those that the dataset does not list have none
        ids = [
            -1 - label if category is None else category
            for label, category in enumerate(truth.category_ids)
        ]
        view = f"{truth.name}/semantic"
        register(
            view,
            lambda _: photos,
            {
                "stuff_classes": list(names),
                "stuff_dataset_id_to_contiguous_id": {each: n for n, each in enumerate(ids)},
                "ignore_label": truth.ignore_label,
            },
        )
        super().__init__(view, output_dir=str(folder), sem_seg_loading_fn=self._read)
        self._logger = logging.Logger("", logging.WARNING)  # else all results come in one line

    def evaluate(self) -> Any:
        results = super().evaluate()
        for values in (results or {}).values():
            for name in self._unlisted:
                for key in _CLASS_KEYS:
                    values.pop(key.format(name), None)
            self._log_classes(values)
        return results

    def _log_classes(self, values: dict[str, float]) -> None:
        """Logs the table of the classes, as AP has one."""
        names = [name for name in self._class_names if f"IoU-{name}" in values]
        logger.info("Semantic results of every class:\n%s", classes_table(values, names))

    def encode_json_sem_seg(self, sem_seg: Any, input_file_name: str) -> list[dict[str, Any]]:
        rows = super().encode_json_sem_seg(sem_seg, input_file_name)
        return [row for row in rows if row["category_id"] >= 0]

    def _read(self, file_name: str, dtype: Any = int) -> LabelMap:
        labels = read_class_map(self._records[file_name], self._ignore_label)
        return np.asarray(labels, dtype=dtype)  # [H, W]

"""Instance evaluation by COCO's AP, for things at any place among a model's classes."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from freeseg.catalog import replace_metadata
from freeseg.data.coco_writer import write_json
from freeseg.evaluation.instance_truth import coco_content
from freeseg.evaluation.table import LIMIT_KEY
from freeseg.evaluation.truth import Truth, write_truth

COCO_LIMIT = 100  # detections of a photo that COCO's AP counts

logger = logging.getLogger(__name__)


class ThingEvaluator(COCOEvaluator):
    """COCO AP of the thing classes.

    Detectron2's evaluator wants thing classes numbered from 0 without gaps; a universal model
    predicts numbers of the one class list (ADE20K's things are 100 of 150). Ground truth is made of
    the records of the dataset's instance annotation, or of the panoptic annotation's things where
    there is none: ids are its own, areas those of the masks.
    """

    usual_limit = COCO_LIMIT  # detections of a photo, which results need not name

    def __init__(
        self,
        truth: Truth,
        folder: Path,
        *,
        kinds: Sequence[str] = ("segm",),
        from_panoptic: bool = False,
        limit: int = COCO_LIMIT,
    ) -> None:
        """Evaluates masks, boxes or both.

        Args:
            truth: What is compared with.
            folder: For predictions and ground truth.
            kinds: Of AP: "segm", "bbox" or both.
            from_panoptic: Ground truth is the panoptic annotation's things even where there is an
                instance JSON; the results' names end with _panoptic.
            limit: Detections of a photo that count, those of the highest scores; COCO's own
                numbers count 100.

        Raises:
            ValueError: The dataset has no thing that the model knows.
        """
        ids = truth.category_ids
        things = truth.things
        if not things:
            raise ValueError(f"dataset {truth.name} has no thing classes to evaluate AP on")
        self._number_of_class = torch.full((max(things) + 1,), -1)
        self._number_of_class[things] = torch.arange(len(things))
        self._suffix = "_panoptic" if from_panoptic else ""
        self._limit = limit
        self._kinds = tuple(kinds)
        self._image_ids = numbers_of_images(truth)
        view = f"{truth.name}/things{self._suffix}"
        path = folder / f"instances{self._suffix}_ground_truth.json"
        values = {
            "json_file": write_truth(path, lambda: self._content(truth, things, from_panoptic)),
            "thing_classes": [truth.vocabulary.names[label] for label in things],
            "thing_dataset_id_to_contiguous_id": {ids[n]: i for i, n in enumerate(things)},
        }
        replace_metadata(view, values)
        super().__init__(
            view,
            tasks=self._kinds,
            output_dir=str(folder),
            max_dets_per_image=limit,
        )

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        results = super().evaluate(*arguments, **options)
        if comm.is_main_process():
            self._restore_image_ids()
        if results and self._limit != self.usual_limit:
            for row in results.values():
                row[LIMIT_KEY] = float(self._limit)
        return results and {f"{task}{self._suffix}": row for task, row in results.items()}

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        images = [{**image, "image_id": self._image_ids[image["image_id"]]} for image in inputs]
        things = [{"instances": self._renumber(row["instances"])} for row in outputs]
        super().process(images, things)

    def _renumber(self, instances: Instances) -> Instances:
        classes: Tensor = instances.pred_classes.cpu()
        known = (classes >= 0) & (classes < len(self._number_of_class))
        numbers = self._number_of_class[classes.where(known, torch.zeros_like(classes))]
        is_thing = known & (numbers >= 0)
        kept = instances.to("cpu")[is_thing]
        kept.pred_classes = numbers[is_thing]
        return kept

    def _content(self, truth: Truth, things: Sequence[int], from_panoptic: bool) -> dict[str, Any]:
        """The ground truth in COCO's form."""
        content = coco_content(
            truth,
            things,
            self._image_ids,
            from_panoptic=from_panoptic,
            needs_masks="segm" in self._kinds,
        )
        self._warn_of_limit(truth.name, content)
        return content

    def _warn_of_limit(self, name: str, content: dict[str, Any]) -> None:
        counts = Counter(row["image_id"] for row in content["annotations"])
        most = max(counts.values(), default=0)
        if most > self._limit:
            logger.warning(
                "%s: a photo has up to %d objects, AP counts its %d best detections: "
                "TEST.DETECTIONS_PER_IMAGE %d counts all",
                name,
                most,
                self._limit,
                most,
            )

    def _restore_image_ids(self) -> None:
        """Writes the dataset's own image ids into the file of predictions."""
        original = {number: image_id for image_id, number in self._image_ids.items()}
        path = Path(self._output_dir) / "coco_instances_results.json"
        if all(number == image_id for number, image_id in original.items()) or not path.is_file():
            return
        rows = json.loads(path.read_text())
        write_json(path, [{**row, "image_id": original[row["image_id"]]} for row in rows])


def numbers_of_images(truth: Truth) -> dict[Any, int]:
    """The image ids that COCO's tools get: the dataset's where they are whole numbers from 1."""
    ids = [record["image_id"] for record in truth.records]
    are_numbers = all(type(each) is int and each > 0 for each in ids)
    return dict(zip(ids, ids if are_numbers else range(1, len(ids) + 1)))

"""Instance evaluation by COCO's AP, for things at any place among a dataset's classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from freeseg.data.coco_writer import write_json
from freeseg.data.derived_instances import instances_from_panoptic


class ThingEvaluator(COCOEvaluator):
    """COCO mask AP of the thing classes.

    Detectron2's evaluator wants thing classes numbered from 0 without gaps; a universal model
    predicts numbers of the one class list (ADE20K's things are 100 of 150). Ground truth is the
    dataset's instance JSON, or the panoptic annotation's things where there is none.
    """

    def __init__(
        self,
        dataset_name: str,
        folder: Path,
        *,
        with_boxes: bool = False,
        from_panoptic: bool = False,
    ) -> None:
        """Evaluates masks.

        Args:
            dataset_name: A registered dataset.
            folder: For predictions and derived ground truth.
            with_boxes: Evaluate the boxes around the masks too.
            from_panoptic: Ground truth is the panoptic annotation's things even where there is an
                instance JSON; the results' names end with _panoptic.
        """
        metadata = MetadataCatalog.get(dataset_name)
        things = metadata.get("thing_dataset_id_to_contiguous_id")
        if not things:
            raise ValueError(f"dataset {dataset_name} has no thing classes to evaluate AP on")
        ordered = sorted(things, key=things.__getitem__)
        self._number_of_class = torch.full((max(things.values()) + 1,), -1)
        for number, dataset_id in enumerate(ordered):
            self._number_of_class[things[dataset_id]] = number

        self._suffix = "_panoptic" if from_panoptic else ""
        view = f"{dataset_name}/things{self._suffix}"
        if view in MetadataCatalog.list():
            MetadataCatalog.remove(view)
        MetadataCatalog.get(view).set(
            json_file=_instance_json(dataset_name, folder, from_panoptic),
            thing_classes=list(metadata.thing_classes),
            thing_dataset_id_to_contiguous_id={key: i for i, key in enumerate(ordered)},
        )
        super().__init__(
            view, tasks=("bbox", "segm") if with_boxes else ("segm",), output_dir=str(folder)
        )

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        results = super().evaluate(*arguments, **options)
        return results and {f"{task}{self._suffix}": row for task, row in results.items()}

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        things = [{"instances": self._renumber(row["instances"])} for row in outputs]
        super().process(inputs, things)

    def _renumber(self, instances: Instances) -> Instances:
        classes: Tensor = instances.pred_classes.cpu()
        known = (classes >= 0) & (classes < len(self._number_of_class))
        numbers = self._number_of_class[classes.where(known, torch.zeros_like(classes))]
        is_thing = known & (numbers >= 0)
        kept = instances.to("cpu")[is_thing]
        kept.pred_classes = numbers[is_thing]
        return kept


def _instance_json(dataset_name: str, folder: Path, from_panoptic: bool) -> str:
    """The dataset's COCO instance JSON; written from its annotation if it has none."""
    metadata = MetadataCatalog.get(dataset_name)
    given = metadata.get("json_file")
    if given and Path(given).is_file() and not from_panoptic:
        return str(given)
    derived = folder / "instances_ground_truth.json"
    if comm.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        records = DatasetCatalog.get(dataset_name)
        write_json(derived, instances_from_panoptic(records, metadata))
    comm.synchronize()
    return str(derived)

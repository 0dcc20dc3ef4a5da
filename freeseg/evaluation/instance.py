"""Instance evaluation by COCO's AP, for things at any place among a dataset's classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import detection_utils as utils
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm
from freeseg.data.coco_writer import encode_rle, write_json
from freeseg.data.panoptic import rgb2id, segment_geometry


class ThingEvaluator(COCOEvaluator):
    """COCO mask AP of the thing classes.

    Detectron2's evaluator wants thing classes numbered from 0 without gaps; a universal model
    predicts numbers of the one class list (ADE20K's things are 100 of 150). Ground truth is the
    dataset's instance JSON, or the panoptic annotation's things where there is none.
    """

    def __init__(self, dataset_name: str, folder: Path, *, with_boxes: bool = False) -> None:
        """Evaluates masks and, `with_boxes`, the boxes around them."""
        metadata = MetadataCatalog.get(dataset_name)
        things = metadata.get("thing_dataset_id_to_contiguous_id")
        if not things:
            raise ValueError(f"dataset {dataset_name} has no thing classes to evaluate AP on")
        ordered = sorted(things, key=things.__getitem__)
        self._number_of_class = torch.full((max(things.values()) + 1,), -1)
        for number, dataset_id in enumerate(ordered):
            self._number_of_class[things[dataset_id]] = number

        view = f"{dataset_name}/things"
        if view in MetadataCatalog.list():
            MetadataCatalog.remove(view)
        MetadataCatalog.get(view).set(
            json_file=_instance_json(dataset_name, folder),
            thing_classes=list(metadata.thing_classes),
            thing_dataset_id_to_contiguous_id={key: i for i, key in enumerate(ordered)},
        )
        super().__init__(
            view, tasks=("bbox", "segm") if with_boxes else ("segm",), output_dir=str(folder)
        )

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


def _instance_json(dataset_name: str, folder: Path) -> str:
    """The dataset's COCO instance JSON, written from its annotation if it has none."""
    metadata = MetadataCatalog.get(dataset_name)
    given = metadata.get("json_file")
    if given and Path(given).is_file():
        return str(given)
    derived = folder / "instances_ground_truth.json"
    if comm.is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        records = DatasetCatalog.get(dataset_name)
        write_json(derived, instances_from_panoptic(records, metadata))
    comm.synchronize()
    return str(derived)


def instances_from_panoptic(records: Sequence[dict[str, Any]], metadata: Any) -> dict[str, Any]:
    """COCO instance annotation of the thing segments of panoptic records."""
    dataset_ids = {
        class_id: key for key, class_id in metadata.thing_dataset_id_to_contiguous_id.items()
    }
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        ids = rgb2id(utils.read_image(record["pan_seg_file_name"], "RGB"))
        height, width = ids.shape
        images.append(
            {
                "id": record["image_id"],
                "file_name": Path(record["file_name"]).name,
                "height": height,
                "width": width,
            }
        )
        geometry = segment_geometry(ids)
        for segment in record["segments_info"]:
            if segment["category_id"] not in dataset_ids or segment["id"] not in geometry:
                continue
            area, box = geometry[segment["id"]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record["image_id"],
                    "category_id": dataset_ids[segment["category_id"]],
                    "iscrowd": int(segment.get("iscrowd", 0)),
                    "area": area,
                    "bbox": box,
                    "segmentation": encode_rle(ids == segment["id"]),
                }
            )
    names = metadata.stuff_classes
    categories = [{"id": key, "name": names[class_id]} for class_id, key in dataset_ids.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}

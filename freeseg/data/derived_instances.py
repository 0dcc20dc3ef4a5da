"""COCO instance annotation of the things in a panoptic annotation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.data import detection_utils as utils
from freeseg.data.coco_writer import encode_rle
from freeseg.data.panoptic import rgb2id, segment_geometry


def instances_from_panoptic(records: Iterable[dict[str, Any]], metadata: Any) -> dict[str, Any]:
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

"""COCO instance annotation of the things in a panoptic annotation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from freeseg.data.annotation_files import read_segment_ids
from freeseg.data.coco_writer import encode_rle
from freeseg.data.panoptic import measured_segments


def instances_from_panoptic(records: Iterable[dict[str, Any]], metadata: Any) -> dict[str, Any]:
    """COCO instance annotation of the thing segments of panoptic records."""
    dataset_ids = {
        class_id: key for key, class_id in metadata.thing_dataset_id_to_contiguous_id.items()
    }
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        ids = read_segment_ids(record)
        height, width = ids.shape
        images.append(
            {
                "id": record["image_id"],
                "file_name": Path(record["file_name"]).name,
                "height": height,
                "width": width,
            }
        )
        for row in measured_segments(ids, record["segments_info"]):
            if row["category_id"] in dataset_ids:
                mask = encode_rle(ids == row["id"])
                numbers = {"id": len(annotations) + 1, "image_id": record["image_id"]}
                category = dataset_ids[row["category_id"]]
                annotations.append(
                    {**row, **numbers, "category_id": category, "segmentation": mask}
                )
    names = metadata.stuff_classes
    categories = [{"id": key, "name": names[class_id]} for class_id, key in dataset_ids.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}

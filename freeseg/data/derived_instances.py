"""COCO instance annotation of the things in a panoptic annotation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from freeseg.data.annotation_files import read_segment_ids
from freeseg.data.categories import Category
from freeseg.data.coco_writer import encode_rle
from freeseg.data.panoptic import measured_segments


def instances_from_panoptic(
    records: Iterable[dict[str, Any]], categories: Sequence[Category]
) -> dict[str, Any]:
    """COCO instance annotation of the thing segments of panoptic records."""
    things = {label: row for label, row in enumerate(categories) if row.is_thing}
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
            if row["category_id"] in things:
                mask = encode_rle(ids == row["id"])
                numbers = {"id": len(annotations) + 1, "image_id": record["image_id"]}
                category = things[row["category_id"]].id
                annotations.append(
                    {**row, **numbers, "category_id": category, "segmentation": mask}
                )
    listed = [{"id": thing.id, "name": thing.name} for thing in things.values()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": listed}

"""COCO-instance JSON files as Detectron2 records."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from freeseg.data.categories import Category, metadata
from freeseg.data.datasets.catalog import IGNORE_LABEL, Records, register
from freeseg.data.datasets.json_rows import read_json, refuse_twins, require_file, rows_of

_IMAGE: Mapping[str, type] = {
    "id": Hashable,
    "file_name": str,
    "height": int,
    "width": int,
}
_ANNOTATION: Mapping[str, type] = {
    "image_id": Hashable,
    "category_id": int,
    "bbox": list,
}


def register_instances(
    name: str, json_file: Path, image_root: Path, categories: Sequence[Category], hint: str
) -> None:
    """Register a COCO-instance dataset whose classes are the things among `categories`."""
    things = [category for category in categories if category.is_thing]
    values = {
        "json_file": str(json_file),
        "image_root": str(image_root),
        "evaluator_type": "coco",
        "ignore_label": IGNORE_LABEL,
        **metadata(things),
    }
    register(name, lambda: load_instances(json_file, image_root, things, hint), values)


def load_instances(
    json_file: Path, image_root: Path, things: Sequence[Category], hint: str
) -> Records:
    """Records of every image, with its annotations in contiguous class numbers."""
    content = read_json(json_file, hint)
    images = rows_of(content, "images", _IMAGE, json_file)
    annotations = rows_of(content, "annotations", _ANNOTATION, json_file)
    refuse_twins(images, "id", f"{json_file}: images")
    numbered = [row for row in annotations if "id" in row]
    refuse_twins(numbered, "id", f"{json_file}: annotations")
    classes = {category.id: index for index, category in enumerate(things)}
    records = {
        row["id"]: {
            "file_name": str(image_root / row["file_name"]),
            "image_id": row["id"],
            "height": row["height"],
            "width": row["width"],
            "annotations": [],
        }
        for row in images
    }
    for row in annotations:
        if row["image_id"] not in records or row["category_id"] not in classes:
            raise ValueError(
                f"{json_file}: annotation {row.get('id')} has image {row['image_id']} and category "
                f"{row['category_id']}, one of which the file does not list"
            )
        annotation: dict[str, Any] = {
            "category_id": classes[row["category_id"]],
            "iscrowd": row.get("iscrowd", 0),
            "bbox": row["bbox"],
            "bbox_mode": BoxMode.XYWH_ABS,
            "segmentation": row.get("segmentation"),
        }
        records[row["image_id"]]["annotations"].append(annotation)
    result = list(records.values())
    if not result:
        raise ValueError(f"{json_file} lists no images")
    require_file(result[0]["file_name"], hint)
    return result

"""COCO-instance JSON files as Detectron2 records."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from freeseg.data.categories import Category, metadata
from freeseg.data.datasets.catalog import IGNORE_LABEL, Records, register
from freeseg.data.datasets.json_rows import (
    FileName,
    ListedImages,
    check_known,
    numbered_rows_of,
    read_json,
    require_some,
    rows_of,
    without_twins,
)
from freeseg.data.datasets.photo_finder import PhotoFinder
from freeseg.data.problems import Problems
from freeseg.data.segmentation_code import box_of, drawable

_IMAGE: Mapping[str, type] = {"id": Hashable, "file_name": FileName, "height": int, "width": int}
_ANNOTATION: Mapping[str, type] = {"image_id": Hashable, "category_id": int}
_OPTIONAL: Mapping[str, type] = {"iscrowd": bool, "id": Hashable}


def register_instances(
    name: str,
    json_file: Path,
    image_root: Path,
    categories: Sequence[Category],
    hint: str,
    **extra: Any,
) -> None:
    """Register a COCO-instance dataset whose classes are the things among `categories`."""
    things = [category for category in categories if category.is_thing]
    values = {
        "json_file": str(json_file),
        "image_root": str(image_root),
        "evaluator_type": "coco",
        "ignore_label": IGNORE_LABEL,
        **metadata(things),
        **extra,
    }

    def load(problems: Problems) -> Records:
        return load_instances(json_file, image_root, things, hint, problems)

    register(name, load, values)


def load_instances(
    json_file: Path, image_root: Path, things: Sequence[Category], hint: str, problems: Problems
) -> Records:
    """Records of every image, with its annotations in contiguous class numbers.

    Args:
        json_file: COCO's form.
        image_root: Folder of the photos.
        things: The classes; an annotation of another category is an error.
        hint: What to do where files are missing.
        problems: Gets what is wrong with rows.

    Raises:
        MissingDataError: There is no such file, or none of the photos.
        ValueError: It is no COCO JSON.
    """
    content = read_json(json_file, hint)
    return instance_records(content, json_file, image_root, things, hint, problems)


def instance_records(
    content: Any,
    json_file: Path,
    image_root: Path,
    things: Sequence[Category],
    hint: str,
    problems: Problems,
) -> Records:
    """The same of a file that has been read."""
    images = rows_of(content, "images", _IMAGE, json_file, problems)
    images = without_twins(images, "id", f"{json_file}: images", problems)
    finder = PhotoFinder(image_root, json_file, problems)
    records = {
        row["id"]: {
            "file_name": str(finder.find(row["file_name"])),
            "image_id": row["id"],
            "height": row["height"],
            "width": row["width"],
            "annotations": [],
        }
        for row in images
    }
    finder.report()
    _add_annotations(content, records, things, json_file, problems)
    result = list(records.values())
    if not result and not problems.errors:
        raise ValueError(f"{json_file} lists no images")
    if not problems.errors:
        require_some((record["file_name"] for record in result), hint)
    return result


def _add_annotations(
    content: Any,
    records: Mapping[Any, dict[str, Any]],
    things: Sequence[Category],
    source: Path,
    problems: Problems,
) -> None:
    """Gives every annotation to the record of its image; those of images in error are left out."""
    rows = numbered_rows_of(content, "annotations", _ANNOTATION, source, problems)
    with_id = [row for _, row in rows if isinstance(row.get("id"), Hashable) and "id" in row]
    without_twins(with_id, "id", f"{source}: annotations", problems)
    classes = {category.id: index for index, category in enumerate(things)}
    images = ListedImages(content)
    collecting = problems.collecting("annotations")
    for number, row in rows:
        with collecting:
            row_id = row.get("id")
            place = f"annotations[{number}]" if row_id is None else f"annotation {row_id!r:.40}"
            name = f"{source}: {place}"
            images.refuse_unknown(row["image_id"], name)
            if row["category_id"] not in classes:
                raise ValueError(
                    f"{name} is of the category {row['category_id']}, which the file does not list"
                )
            record = records.get(row["image_id"])
            if record is not None:
                label = classes[row["category_id"]]
                record["annotations"].append(_annotation(row, label, record, name))


def _annotation(
    row: Mapping[str, Any], class_id: int, record: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Detectron2's dict of an annotation row; "segmentation" is None where it has no mask.

    Raises:
        ValueError: A field has no meaning.
    """
    row = check_known(row, _OPTIONAL, name)
    try:
        mask = drawable(row.get("segmentation"), (record["height"], record["width"]))
    except (TypeError, ValueError) as error:
        photo = Path(record["file_name"]).name
        raise ValueError(f"{name}, of {photo}: {error}") from error
    annotation = {
        "category_id": class_id,
        "iscrowd": int(row.get("iscrowd", 0)),
        "segmentation": mask,
    }
    for key in ("id", "area"):
        if key in row:
            annotation[key] = row[key]
    box = row.get("bbox")
    if box is not None:
        if not _is_box(box):
            raise ValueError(f"{name} needs 'bbox', x, y, width, height >= 0, got {box!r:.60}")
        annotation.update(bbox=box, bbox_mode=BoxMode.XYWH_ABS)
    elif mask is not None:
        box = box_of(mask, (record["height"], record["width"]))
        annotation.update(bbox=box, bbox_mode=BoxMode.XYWH_ABS)
    return annotation


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    is_finite = all(isinstance(side, (int, float)) and math.isfinite(side) for side in box)
    return is_finite and box[2] >= 0 and box[3] >= 0

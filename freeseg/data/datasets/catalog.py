"""Lazy entries in Detectron2's catalogs, which can be registered again under another root."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data.categories import Category, metadata
from freeseg.data.datasets.json_rows import (
    check_known,
    check_row,
    read_json,
    refuse_twins,
    require_file,
    rows_of,
)

Records = list[dict[str, Any]]

IGNORE_LABEL = 255
LABEL_DIVISOR = 1000

# keys of records beyond Detectron2's
STUFF_KEY = "stuff_file_name"  # a semantic PNG for the pixels that no segment has
IGNORED_KEY = "ignored_classes"  # classes of the semantic PNG whose pixels are void


def register(name: str, load: Callable[[], Records], values: Mapping[str, Any]) -> None:
    """Register a dataset and its metadata, replacing an earlier entry of that name."""
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
    if name in MetadataCatalog.list():
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(**values)


@dataclass(frozen=True)
class PanopticFiles:
    """Where a COCO-panoptic dataset lies, and how it is prepared."""

    image_root: Path
    panoptic_root: Path
    panoptic_json: Path
    sem_seg_root: Path | None = None
    instances_json: Path | None = None
    hint: str = field(default="see datasets/README.md", compare=False)

    def image_file(self, row: Mapping[str, Any], image: Mapping[str, Any]) -> Path:
        """The photo of an annotation `row` and its `image` row ({} if the JSON lists none)."""
        return self.image_root / image.get("file_name", f"{Path(row['file_name']).stem}.jpg")

    def sem_seg_file(self, row: Mapping[str, Any]) -> Path | None:
        """The semantic PNG of an annotation row, if the dataset has such PNGs."""
        return self.sem_seg_root / row["file_name"] if self.sem_seg_root else None


def register_panoptic(
    name: str,
    files: PanopticFiles,
    categories: Sequence[Category],
    evaluator_type: str = "coco_panoptic_seg",
    generate: Callable[[], object] | None = None,
    **extra: Any,
) -> None:
    """Register a COCO-panoptic dataset; `generate`, if given, is called before each load."""
    values = {
        "image_root": str(files.image_root),
        "panoptic_root": str(files.panoptic_root),
        "panoptic_json": str(files.panoptic_json),
        "sem_seg_root": str(files.sem_seg_root) if files.sem_seg_root else None,
        "json_file": str(files.instances_json) if files.instances_json else None,
        "evaluator_type": evaluator_type,
        "ignore_label": IGNORE_LABEL,
        "label_divisor": LABEL_DIVISOR,
        **metadata(categories),
        **extra,
    }

    def load() -> Records:
        if generate is not None:
            generate()
        return load_panoptic(files, categories)

    register(name, load, {key: value for key, value in values.items() if value is not None})


def load_panoptic(files: PanopticFiles, categories: Sequence[Category]) -> Records:
    """Detectron2 records of a COCO-panoptic JSON, with contiguous category ids."""
    source = files.panoptic_json
    content = read_json(source, files.hint)
    listed = rows_of({"images": [], **content}, "images", {"id": Hashable}, source)
    refuse_twins(listed, "id", f"{source}: images")
    for image in listed:
        check_known(image, _IMAGE, f"{source}: image {image['id']!r:.40}")
    images = {row["id"]: row for row in listed}
    classes = {row.id: (index, row.is_thing) for index, row in enumerate(categories)}
    records = []
    for row in rows_of(content, "annotations", _ANNOTATION, source):
        _check_segments(row, source)
        image = images.get(row["image_id"], {})
        record = {
            "file_name": str(files.image_file(row, image)),
            "image_id": row["image_id"],
            "pan_seg_file_name": str(files.panoptic_root / row["file_name"]),
            "segments_info": [
                _contiguous(segment, classes, files.panoptic_json)
                for segment in row["segments_info"]
            ],
        }
        semantic = files.sem_seg_file(row)
        if semantic is not None:
            record["sem_seg_file_name"] = str(semantic)
        if {"height", "width"} <= set(image):
            record.update(height=image["height"], width=image["width"])
        record.update({key: image[key] for key in ("caption",) if key in image})
        records.append(record)
    if not records:
        raise ValueError(f"{files.panoptic_json} has no annotations")
    first = records[0]
    for key in ("file_name", "pan_seg_file_name", "sem_seg_file_name"):
        if key in first:
            require_file(first[key], files.hint)
    return records


_IMAGE: Mapping[str, type] = {"file_name": str, "height": int, "width": int}
_ANNOTATION: Mapping[str, type] = {
    "image_id": Hashable,
    "file_name": str,
    "segments_info": list,
}


def _check_segments(row: Mapping[str, Any], source: Path) -> None:
    name = f"{source}: segments of {row['file_name']}"
    for segment in row["segments_info"]:
        check_row(segment, {"id": int, "category_id": int}, name)
    refuse_twins(row["segments_info"], "id", name)


def _contiguous(
    segment: Mapping[str, Any], classes: Mapping[int, tuple[int, bool]], source: Path
) -> dict[str, Any]:
    category = segment["category_id"]
    if category not in classes:
        raise ValueError(
            f"{source}: segment {segment['id']} has category {category}, which is not in the "
            "dataset's category table"
        )
    class_id, is_thing = classes[category]
    return {**segment, "category_id": class_id, "isthing": is_thing}

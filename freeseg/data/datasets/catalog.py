"""Lazy entries of the catalogue, which can be registered again under another root."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.catalog import Classes, dataset_metadata, keep, kept, own_entry
from freeseg.data.categories import Category, metadata
from freeseg.data.datasets.json_rows import (
    FileName,
    Json,
    ListedImages,
    check_known,
    check_row,
    read_json,
    require_some,
    rows_of,
    without_twins,
)
from freeseg.data.datasets.own_loader import own_records
from freeseg.data.datasets.photo_finder import PhotoFinder
from freeseg.data.panoptic import MAX_SEGMENT_ID, VOID_ID
from freeseg.data.problems import Problems

Records = list[dict[str, Any]]
Loader = Callable[[Problems], Records]

IGNORE_LABEL = 255
LABEL_DIVISOR = 1000

# keys of records beyond Detectron2's
STUFF_KEY = "stuff_file_name"  # a semantic PNG for the pixels that no segment has
IGNORED_KEY = "ignored_classes"  # classes of the semantic PNG whose pixels are void
IGNORED_PIXELS_KEY = "ignored_pixels"  # a run-length code of pixels that are not judged
LABELS_KEY = "class_of_label"  # what the values of the semantic PNG mean, where not class numbers


def register(
    name: str, load: Loader, values: Mapping[str, Any], classes: Classes | None = None
) -> None:
    """Register a dataset and its metadata, replacing an earlier entry of ours of that name.

    Args:
        name: Of the dataset.
        load: Makes its records, and collects what is wrong with them.
        values: Metadata.
        classes: Makes the metadata of its classes, where a file has to be read for that.
    """
    keep(name, _Strictly(load), values, classes)


def load_records(name: str, problems: Problems) -> Records:
    """Records of a registered dataset, whoever has registered it.

    `problems` gets all that is wrong with its files and the records are what is left; Detectron2's
    `DatasetCatalog.get` raises them.
    """
    return own_records(name, problems) if own_entry(name) is None else load_kept(name, problems)


def load_kept(name: str, problems: Problems) -> Records:
    """The same of a dataset of ours, whoever else has registered its name."""
    strictly = kept(name).load
    assert isinstance(strictly, _Strictly)
    return strictly.load(problems)


def ignore_label_of(name: str) -> int:
    """Void in a registered dataset: what its metadata says, else Detectron2's usual 255."""
    return int(dataset_metadata(name).get("ignore_label", IGNORE_LABEL))


@dataclass(frozen=True)
class _Strictly:
    """Loads records, or raises all that is wrong."""

    load: Loader

    def __call__(self) -> Records:
        problems = Problems()
        records = self.load(problems)
        problems.raise_errors()
        return records


@dataclass(frozen=True)
class PanopticFiles:
    """Where a COCO-panoptic dataset lies, and how it is prepared."""

    image_root: Path
    panoptic_root: Path
    panoptic_json: Path
    sem_seg_root: Path | None = None
    instances_json: Path | None = None
    hint: str = "see 'Datasets' in the documentation"

    def photo_name(self, row: Mapping[str, Any], image: Mapping[str, Any]) -> str:
        """The photo of an annotation `row` and its `image` row ({} if the JSON lists none)."""
        return str(image.get("file_name", f"{Path(row['file_name']).stem}.jpg"))

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

    def load(problems: Problems) -> Records:
        if generate is not None:
            generate()
        return load_panoptic(files, categories, problems)

    register(name, load, {key: value for key, value in values.items() if value is not None})


def load_panoptic(
    files: PanopticFiles, categories: Sequence[Category], problems: Problems
) -> Records:
    """Detectron2 records of a COCO-panoptic JSON, with contiguous category ids.

    Args:
        files: Where it lies.
        categories: The classes; a segment of another category is an error.
        problems: Gets what is wrong with rows.

    Raises:
        MissingDataError: There is no such file, or none of the photos or PNGs.
        ValueError: It is no COCO JSON, or has no annotations.
    """
    source = files.panoptic_json
    content = read_json(source, files.hint)
    images = _images(content, source, problems)
    classes = {row.id: (index, row.is_thing) for index, row in enumerate(categories)}
    photos = PhotoFinder(files.image_root, source, problems)
    maps = PhotoFinder(files.panoptic_root, source, problems)
    records = []
    rows = rows_of(content, "annotations", _ANNOTATION, source, problems)
    rows = _of_listed_images(rows, content, images, source, problems)
    for row in without_twins(rows, "image_id", f"{source}: annotations", problems):
        image = images.get(row["image_id"], {})
        record = {
            "file_name": str(photos.find(files.photo_name(row, image))),
            "image_id": row["image_id"],
            "pan_seg_file_name": str(maps.find(row["file_name"])),
            "segments_info": _segments(row, classes, source, problems),
        }
        semantic = files.sem_seg_file(row)
        if semantic is not None:
            record["sem_seg_file_name"] = str(semantic)
        if {"height", "width"} <= set(image):
            record.update(height=image["height"], width=image["width"])
        record.update({key: image[key] for key in ("caption",) if key in image})
        records.append(record)
    photos.report()
    maps.report()
    if not records and not problems.errors:
        raise ValueError(f"{files.panoptic_json} has no annotations")
    for key in ("file_name", "pan_seg_file_name", "sem_seg_file_name"):
        if records and key in records[0] and not problems.errors:
            require_some((record[key] for record in records), files.hint)
    return records


_IMAGE: Mapping[str, type] = {"file_name": FileName, "height": int, "width": int}
_ANNOTATION: Mapping[str, type] = {
    "image_id": Hashable,
    "file_name": FileName,
    "segments_info": list,
}
_SEGMENT: Mapping[str, type] = {"id": int, "category_id": int}


def _images(content: Any, source: Path, problems: Problems) -> dict[Any, Json]:
    """The image rows by id; a panoptic JSON may have none."""
    listed = rows_of({"images": [], **content}, "images", {"id": Hashable}, source, problems)
    images = {}
    for image in without_twins(listed, "id", f"{source}: images", problems):
        with problems.collecting("rows of images"):
            images[image["id"]] = check_known(image, _IMAGE, f"{source}: image {image['id']!r:.40}")
    return images


def _of_listed_images(
    rows: Sequence[Json],
    content: Any,
    images: Mapping[Any, Json],
    source: Path,
    problems: Problems,
) -> list[Json]:
    """The annotation rows of images that are listed; those of images in error are left out.

    A warning counts images that have no annotation.
    """
    listed = ListedImages(content)
    known = []
    for row in rows:
        with problems.collecting("annotations"):
            listed.refuse_unknown(row["image_id"], f"{source}: annotation of {row['file_name']}")
            if row["image_id"] in images or not content.get("images"):
                known.append(row)
    annotated = {row["image_id"] for row in rows}
    without = [image for image in images if image not in annotated]
    if without and known:
        problems.warn(
            "images without annotation",
            f"{source}: {len(without)} of {len(images)} images have no annotation, such as image "
            f"{without[0]!r:.40}: they are not used",
        )
    return known


def _segments(
    row: Mapping[str, Any],
    classes: Mapping[int, tuple[int, bool]],
    source: Path,
    problems: Problems,
) -> list[Json]:
    name = f"{source}: segments of {row['file_name']}"
    segments: list[Json] = []
    for segment in row["segments_info"]:
        with problems.collecting("segments"):
            checked = check_row(segment, _SEGMENT, name)
            checked = check_known(checked, {"iscrowd": bool}, name)
            if not VOID_ID < checked["id"] <= MAX_SEGMENT_ID:
                raise ValueError(
                    f"{name}: id {checked['id']} cannot be a segment's: 0 is void in COCO's "
                    f"PNGs, ids are 1..{MAX_SEGMENT_ID}"
                )
            segments.append(_contiguous(checked, classes, name))
    return without_twins(segments, "id", name, problems)


def _contiguous(
    segment: Mapping[str, Any], classes: Mapping[int, tuple[int, bool]], name: str
) -> dict[str, Any]:
    category = segment["category_id"]
    if category not in classes:
        raise ValueError(
            f"{name}: segment {segment['id']} has category {category}, which is not in the "
            "dataset's category table"
        )
    class_id, is_thing = classes[category]
    crowd = {"iscrowd": int(segment["iscrowd"])} if "iscrowd" in segment else {}
    return {**segment, "category_id": class_id, "isthing": is_thing, **crowd}

"""COCO instance annotation made of records: what AP is computed against.

Shapes: H W image size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as rle_codec

from detectron2.structures import BoxMode
from freeseg.catalog import dataset_metadata
from freeseg.data.annotation_files import read_segment_ids
from freeseg.data.coco_writer import encode_rle
from freeseg.data.panoptic import measured_segments
from freeseg.data.segmentation_code import as_runs, drawable
from freeseg.evaluation.truth import Truth

Row = dict[str, Any]


def coco_content(
    truth: Truth,
    things: Sequence[int],
    image_ids: Mapping[Any, int],
    *,
    from_panoptic: bool,
    needs_masks: bool = True,
) -> dict[str, Any]:
    """A COCO instance annotation file of the things in a dataset.

    Annotations are numbered from 1. Boxes are those of the annotation where it has any; areas are
    counted from the masks, and objects without a pixel are left out, unless the metadata's
    `keeps_annotated_areas` says that published numbers count otherwise.

    Args:
        truth: The dataset.
        things: Class numbers of what counts.
        image_ids: What every image id of the dataset is called in the file.
        from_panoptic: Use the panoptic annotation even where there is another.
        needs_masks: False: objects that have a box alone count, by its area.
    """
    keeps_areas = bool(dataset_metadata(truth.name).get("keeps_annotated_areas", False))
    records = None if from_panoptic else truth.thing_records()
    images: list[Row] = []
    annotations: list[Row] = []
    for record in truth.records if records is None else records:
        if record["image_id"] not in image_ids:
            continue  # an instance JSON may list more photos than the panoptic one
        if records is None:
            size, rows = _segments(record, things)
        else:
            size = record["height"], record["width"]
            rows = list(_objects(record, size, keeps_areas, needs_masks=needs_masks))
        image_id = image_ids[record["image_id"]]
        name = Path(record["file_name"]).name
        images.append({"id": image_id, "file_name": name, "height": size[0], "width": size[1]})
        for row in rows:
            if row["category_id"] in things:
                category = truth.category_ids[row["category_id"]]
                numbers = {"id": len(annotations) + 1, "image_id": image_id}
                annotations.append({**row, **numbers, "category_id": category})
    names = truth.vocabulary.names
    categories = [{"id": truth.category_ids[label], "name": names[label]} for label in things]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def _objects(
    record: Mapping[str, Any], size: tuple[int, int], keeps_areas: bool, *, needs_masks: bool
) -> Iterator[Row]:
    """The objects of a record with instance annotation that have a pixel.

    Where masks are needed, one that has a box alone is a region where nothing is judged, as a
    crowd.
    """
    for row in record["annotations"]:
        mask = drawable(row.get("segmentation"), size)
        is_ignored = bool(row.get("iscrowd", 0))
        if mask is None and row.get("bbox") is not None and not keeps_areas:
            mask, is_ignored = [_corners(row)], is_ignored or needs_masks
        if mask is None:
            continue
        runs = as_runs(mask, size)
        area = int(rle_codec.area(runs))
        if keeps_areas:
            area = row.get("area", area)
        elif not area:
            continue
        if row.get("bbox") is not None:
            box = _box(row, BoxMode.XYWH_ABS)
        else:
            box = [float(side) for side in rle_codec.toBbox(runs)]
        code = runs["counts"]
        yield {
            "category_id": row["category_id"],
            "iscrowd": int(is_ignored),
            "area": area,
            "bbox": box,
            "segmentation": {
                "size": list(size),
                "counts": code.decode("ascii") if isinstance(code, bytes) else code,
            },
        }


def _box(row: Mapping[str, Any], mode: BoxMode) -> list[float]:
    given = row.get("bbox_mode", BoxMode.XYXY_ABS)
    return [float(side) for side in BoxMode.convert(list(row["bbox"]), given, mode)]


def _corners(row: Mapping[str, Any]) -> list[float]:
    """The polygon around an object's box."""
    left, top, right, bottom = _box(row, BoxMode.XYXY_ABS)
    return [left, top, right, top, right, bottom, left, bottom]


def _segments(
    record: Mapping[str, Any], things: Collection[int]
) -> tuple[tuple[int, int], list[Row]]:
    """Size of a panoptic record's image and its segments of things that have a pixel."""
    ids = read_segment_ids(record)
    rows = [
        {**row, "segmentation": encode_rle(ids == row["id"])}
        for row in measured_segments(ids, record["segments_info"])
        if row["category_id"] in things
    ]
    return (ids.shape[0], ids.shape[1]), rows

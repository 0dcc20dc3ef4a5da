"""Reads what a record is annotated with: the one reader for training, evaluation and checks.

Shapes: H W image size.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_codec

from detectron2.data import detection_utils as utils
from freeseg.data.annotation import Annotation, InstanceMasks, SegmentMap
from freeseg.data.datasets.catalog import IGNORED_KEY, IGNORED_PIXELS_KEY, LABELS_KEY, STUFF_KEY
from freeseg.data.label_table import one_channel
from freeseg.data.panoptic import IdMap, LabelMap, panoptic_to_semantic, rgb2id
from freeseg.data.segmentation_code import as_runs, check_segmentation
from freeseg.structures import JUDGED_TASKS

Record = Mapping[str, Any]


def read_annotation(
    record: Record, size: tuple[int, int], ignore_label: int
) -> tuple[Annotation, tuple[str, ...]]:
    """The annotation of a record's image of `size`, and the tasks whose targets it can give."""
    if "pan_seg_file_name" in record:
        ids = read_segment_ids(record)
        _check_size(record["pan_seg_file_name"], ids, size)
        segments = SegmentMap.from_panoptic(ids, record["segments_info"])
        if STUFF_KEY in record:
            segments = segments.with_stuff(read_stuff(record, size, ignore_label), ignore_label)
        return segments, JUDGED_TASKS
    if "annotations" in record:
        try:
            return InstanceMasks(copy.deepcopy(record["annotations"]), size), JUDGED_TASKS
        except (TypeError, ValueError) as error:
            raise ValueError(f"annotation of {record['file_name']}: {error}") from error
    if "sem_seg_file_name" in record:
        labels = read_labels(record, "sem_seg_file_name", ignore_label)
        _check_size(record["sem_seg_file_name"], labels, size)
        return SegmentMap.from_semantic(labels, ignore_label), ("semantic", "panoptic")
    raise ValueError(
        f"{record['file_name']} has no ground truth: a training record needs "
        "pan_seg_file_name, annotations or sem_seg_file_name"
    )


def read_segment_ids(record: Record) -> IdMap:
    """Segment ids [H, W] of a record's panoptic PNG, 0 for void."""
    return rgb2id(read_picture(record["pan_seg_file_name"], "RGB"))


def read_stuff(record: Record, size: tuple[int, ...], ignore_label: int) -> LabelMap:
    """Class numbers [H, W] of what lies behind the segments of a record's image of `size`."""
    labels = read_labels(record, STUFF_KEY, ignore_label)
    _check_size(record[STUFF_KEY], labels, size)
    return labels


def read_ignored_pixels(record: Record, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
    """Bool [H, W], pixels of a record's image of `size` that are not judged; None: all are.

    Raises:
        ValueError: Their code is damaged or of another size; names the photo.
    """
    code = record.get(IGNORED_PIXELS_KEY)
    if code is None:
        return None
    try:
        check_segmentation(code, size)
    except (TypeError, ValueError) as error:
        raise ValueError(f"ignored pixels of {record['file_name']}: {error}") from error
    return rle_codec.decode(as_runs(code, size)).astype(bool)


def read_class_map(record: Record, ignore_label: int) -> LabelMap:
    """Class numbers [H, W] of a record with a semantic PNG, else with a panoptic one."""
    if "sem_seg_file_name" in record:
        return read_labels(record, "sem_seg_file_name", ignore_label)
    segments: Sequence[Mapping[str, Any]] = record["segments_info"]
    classes = {segment["category_id"]: segment["category_id"] for segment in segments}
    return panoptic_to_semantic(read_segment_ids(record), segments, classes, ignore_label)


def read_labels(record: Record, key: str, ignore_label: int) -> LabelMap:
    """The record's class map [H, W]; what the record ignores is void.

    Raises:
        OSError: The file is missing or damaged.
        ValueError: It has colours or values that mean no class; names the file.
    """
    pixels = read_picture(record[key])
    table = record.get(LABELS_KEY)
    labels = one_channel(pixels) if table is None else None
    if table is not None:
        try:
            labels = table.classes(pixels, ignore_label)
        except ValueError as error:
            raise ValueError(f"{record[key]} {error}") from error
    if labels is None:
        raise ValueError(
            f"{record[key]} has colours, wanted one number per pixel, the class; a row of "
            "DATASETS.CUSTOM with the colours of its categories reads them"
        )
    ignored = record.get(IGNORED_KEY, ())
    return np.where(np.isin(labels, ignored), ignore_label, labels) if ignored else labels


def drawable_record(record: Record, ignore_label: int) -> dict[str, Any]:
    """The record with its class map as "sem_seg", where the values of its PNG are no class numbers.

    Detectron2's `Visualizer.draw_dataset_dict` reads a PNG as it is.
    """
    if LABELS_KEY not in record or "sem_seg_file_name" not in record:
        return dict(record)
    return {**record, "sem_seg": read_labels(record, "sem_seg_file_name", ignore_label)}


def read_picture(file_name: str, image_format: str | None = None) -> npt.NDArray[Any]:
    """Detectron2's read_image, whose errors do not always name the file."""
    try:
        return utils.read_image(file_name, format=image_format)
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for damaged files
        raise OSError(f"cannot read {file_name}: {error}") from error


def _check_size(file_name: str, labels: npt.NDArray[Any], size: tuple[int, ...]) -> None:
    if labels.shape[:2] != size:
        raise ValueError(
            f"{file_name} is {labels.shape[1]}x{labels.shape[0]} pixels, its photo is "
            f"{size[1]}x{size[0]}"
        )

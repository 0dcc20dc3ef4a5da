"""Segment-id maps: COCO's colour coding, semantic maps, connected components.

Shapes: H W image size. Segment ids are int32 maps with 0 for void; a COCO panoptic PNG stores an id
as R + 256 * G + 256^2 * B, so ids up to 2^24 - 1 survive (never a uint8 detour).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

VOID_ID = 0  # COCO's segment id for pixels without a label
MAX_SEGMENT_ID = 256**3 - 1

IdMap = npt.NDArray[np.int32]
LabelMap = npt.NDArray[Any]


def id2rgb(ids: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Encode a map of segment ids as the three colour channels of a COCO panoptic PNG."""
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() > MAX_SEGMENT_ID):
        raise ValueError(
            f"segment ids must lie in 0..{MAX_SEGMENT_ID}, got {ids.min()}..{ids.max()}"
        )
    ids = ids.astype(np.int64)
    return np.stack([ids & 255, (ids >> 8) & 255, ids >> 16], axis=-1).astype(np.uint8)


def rgb2id(rgb: npt.ArrayLike) -> IdMap:
    """Decode the colours of a COCO panoptic PNG [H, W, 3] (alpha ignored) to segment ids [H, W]."""
    channels = np.asarray(rgb)
    if channels.ndim != 3 or channels.shape[2] < 3:
        raise ValueError(f"a panoptic PNG has shape [H, W, 3], got {list(channels.shape)}")
    channels = channels.astype(np.int32)
    return channels[..., 0] + 256 * channels[..., 1] + 256**2 * channels[..., 2]


def unique_labels(labels: LabelMap) -> tuple[LabelMap, npt.NDArray[np.intp]]:
    """What `np.unique` finds in a map: its labels, and the place of every pixel's among them.

    Maps are made of long runs, and sorting the runs is much cheaper than sorting the pixels.

    Args:
        labels: Whole numbers [H, W].

    Returns:
        Labels [U], sorted, and places [H, W].
    """
    starts, lengths = runs(labels)
    present, places = np.unique(labels.reshape(-1)[starts], return_inverse=True)
    return present, np.repeat(places, lengths).reshape(labels.shape)


def runs(*maps: LabelMap) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where stretches of pixels begin in which none of the maps changes, and how long they are.

    Args:
        *maps: Of the same shape [H, W]; pixels are taken in the order of rows.

    Returns:
        First pixels [R] of the stretches, and their lengths [R].
    """
    flat = [each.reshape(-1) for each in maps]
    changes = np.logical_or.reduce([each[1:] != each[:-1] for each in flat])
    starts = np.flatnonzero(np.concatenate([[flat[0].size > 0], changes]))
    return starts, np.diff(starts, append=flat[0].size)


def segment_geometry(ids: IdMap) -> dict[int, tuple[int, list[int]]]:
    """Area and [x, y, width, height] box of every segment except void, in one pass over the map."""
    from scipy import ndimage  # slow to import

    present, inverse = unique_labels(ids)
    areas = np.bincount(inverse.ravel(), minlength=len(present))
    windows = ndimage.find_objects(inverse + 1)  # numbers from 1 on, so none is its background
    geometry: dict[int, tuple[int, list[int]]] = {}
    for segment_id, area, (rows, columns) in zip(present.tolist(), areas.tolist(), windows):
        if segment_id != VOID_ID:
            width, height = columns.stop - columns.start, rows.stop - rows.start
            geometry[segment_id] = (area, [columns.start, rows.start, width, height])
    return geometry


def measured_segments(ids: IdMap, segments: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The segments of an annotation that have a pixel in the map, as COCO's segments_info.

    Areas and boxes are those of the map; a segment is no crowd unless it says so.
    """
    geometry = segment_geometry(ids)
    rows = []
    for segment in segments:
        if segment["id"] in geometry:
            area, box = geometry[segment["id"]]
            rows.append(
                {
                    "id": segment["id"],
                    "category_id": segment["category_id"],
                    "iscrowd": int(segment.get("iscrowd", 0)),
                    "area": area,
                    "bbox": box,
                }
            )
    return rows


def panoptic_to_semantic(
    ids: IdMap,
    segments: Sequence[Mapping[str, Any]],
    class_of_category: Mapping[int, int],
    ignore_label: int = 255,
) -> LabelMap:
    """Class map of a panoptic annotation; void and categories without a class become ignore_label.

    Crowd segments count with their class: their class is known, only their instances are not. This
    is how COCO's panoptic annotation is published as semantic ground truth.
    """
    dtype = np.uint8 if max([ignore_label, *class_of_category.values()]) < 256 else np.uint16
    class_of_segment = {
        int(segment["id"]): class_of_category.get(int(segment["category_id"]), ignore_label)
        for segment in segments
    }
    present, inverse = unique_labels(ids)
    classes = [class_of_segment.get(segment_id, ignore_label) for segment_id in present.tolist()]
    return np.asarray(classes, dtype=dtype)[inverse]


def components_to_panoptic(
    labels: LabelMap,
    thing_classes: Collection[int],
    ignore_label: int = 255,
    min_area: int = 1,
) -> tuple[IdMap, list[dict[str, Any]]]:
    """Approximate panoptic annotation of a semantic map: one thing per 8-connected component.

    Stuff gets one segment per class. Things that touch become one segment, and a thing cut in two
    by something in front becomes two. Components under min_area pixels are not trusted as objects:
    all of one class are put into a single crowd segment, so that every pixel keeps its class.

    Returns:
        The id map [H, W] and the segments as dicts with "id", "category_id" (the class) and
        "iscrowd"; ids count from 1.
    """
    ids = np.zeros(labels.shape, dtype=np.int32)
    segments: list[dict[str, Any]] = []

    def add(region: npt.NDArray[np.bool_], label: int, is_crowd: bool) -> None:
        segments.append({"id": len(segments) + 1, "category_id": label, "iscrowd": int(is_crowd)})
        ids[region] = len(segments)

    for label in np.unique(labels).tolist():
        if label == ignore_label:
            continue
        region = labels == label
        if label not in thing_classes:
            add(region, label, is_crowd=False)
            continue
        count, components, stats, _ = cv2.connectedComponentsWithStats(
            region.astype(np.uint8), connectivity=8
        )
        is_tiny = stats[:, cv2.CC_STAT_AREA] < min_area
        is_tiny[0] = False  # component 0 is the background
        for component in range(1, count):
            if not is_tiny[component]:
                add(components == component, label, is_crowd=False)
        if is_tiny.any():
            add(is_tiny[components], label, is_crowd=True)
    return ids, segments

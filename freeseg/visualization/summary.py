"""What a segmentation found, as plain JSON values and as one line of text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from freeseg.visualization.photo_result import UNSURE, Instances, PhotoResult

Json = dict[str, Any]


def summarize(result: PhotoResult, min_score: float = 0.5) -> dict[str, list[Json]]:
    """Returns, by task, what is in the photo, largest or most certain first.

    Args:
        result: Of any tasks.
        min_score: Instances below are left out.
    """
    summaries: dict[str, list[Json]] = {}
    if result.panoptic is not None:
        ordered = sorted(result.panoptic.segments, key=lambda segment: -segment.area)
        summaries["panoptic"] = [
            {
                "id": segment.id,
                "label": segment.label,
                "name": segment.name,
                "is_thing": segment.is_thing,
                "score": segment.score,
                "area": segment.area,
            }
            for segment in ordered
        ]
    for task, found in result.scored.items():
        summaries[task] = _scored(found, min_score)
    if result.semantic is not None:
        summaries["semantic"] = _classes(result)
    return summaries


def describe(result: PhotoResult, min_score: float = 0.5, max_names: int = 8) -> str:
    """Returns the names of what is in the photo, by the first task that has a result."""
    task = result.require(None)
    names = [entry["name"] for entry in summarize(result, min_score)[task]]
    counts = {name: names.count(name) for name in names}
    parts = [name if count == 1 else f"{name} x{count}" for name, count in counts.items()]
    more = [f"{len(parts) - max_names} more"] if len(parts) > max_names else []
    found = ", ".join(parts[:max_names] + more) or "nothing found"
    return f"{found} ({UNSURE})" if result.is_unsure else found


def report(result: PhotoResult, paths: Mapping[str, Path]) -> str:
    """Returns what was found and, one line each, what `Segmentation.save` wrote where."""
    height, width = result.image.shape[:2]
    lines = [f"  {width}x{height} pixels: {describe(result)}"]
    column = max(len(meaning) for meaning in _MEANINGS.values())
    ordered = sorted(paths, key=list(_MEANINGS).index)
    lines += [f"  {_MEANINGS[key]:<{column}}  {paths[key]}" for key in ordered]
    return "\n".join(lines)


# what `Segmentation.save` calls a file -> what a reader of the list wants to know
_MEANINGS = {
    "panoptic_overlay": "panoptic, drawn with a legend",
    "instance_overlay": "instances, drawn with a legend",
    "semantic_overlay": "semantic, drawn with a legend",
    "object_overlay": "objects, drawn with a legend",
    "panoptic": "panoptic segment ids, COCO's PNG",
    "panoptic_json": "panoptic segments, COCO's JSON",
    "panoptic_colors": "panoptic segments as flat colours",
    "semantic": "semantic label map, one class id per pixel",
    "semantic_json": "which number of the label map is which class",
    "semantic_colors": "semantic label map as flat colours",
    "instances_json": "instances with scores and masks, COCO results",
    "objects_json": "objects with scores and masks, COCO results",
    "rle_json": "segments as run-length codes",
    "html": "page to look around in",
}


def _scored(found: Instances, min_score: float) -> list[Json]:
    return [
        {
            "label": int(found.labels[index]),
            "name": found.names[index],
            "score": float(found.scores[index]),
            "box": [float(side) for side in found.boxes[index]],
            "area": found.area(index),
        }
        for index in np.argsort(-found.scores, kind="stable").tolist()
        if found.scores[index] >= min_score
    ]


def _classes(result: PhotoResult) -> list[Json]:
    assert result.semantic is not None
    labels, areas = np.unique(result.semantic, return_counts=True)
    entries = [
        {"label": label, "name": result.vocabulary.names[label], "area": area}
        for label, area in zip(labels.tolist(), areas.tolist())
        if 0 <= label < len(result.vocabulary)
    ]
    return sorted(entries, key=lambda entry: -entry["area"])

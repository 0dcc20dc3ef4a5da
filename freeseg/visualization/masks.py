"""Any task's result as masks, and these as run-length codes and as supervision's `Detections`.

Shapes: N segments, H W photo size.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from freeseg.visualization.photo_result import Instances, PhotoResult
from freeseg.visualization.stored_masks import StoredMasks, segmentation_of

UNKNOWN_SCORE = float("nan")  # of segments that the model gives no score for


def masks_of(result: PhotoResult, task: str) -> Instances:
    """Returns the segments of one task as masks [N, H, W], whichever task it is.

    Panoptic and semantic masks do not overlap; a semantic mask is all of a class. Panoptic segments
    come in the model's order, classes by their number.
    """
    scored = {str(known): found for known, found in result.scored.items()}
    if task in scored:
        return scored[task]
    if task == "panoptic":
        assert result.panoptic is not None
        ids, segments = result.panoptic
        rows = [(ids == one.id, one.label, one.score) for one in segments]
    else:
        assert result.semantic is not None
        present = np.unique(result.semantic).tolist()
        known = [label for label in present if 0 <= label < len(result.vocabulary)]
        rows = [(result.semantic == label, label, None) for label in known]
    masks = np.zeros((len(rows), *result.image.shape[:2]), dtype=np.bool_)
    for index, (mask, _, _) in enumerate(rows):
        masks[index] = mask
    return Instances(
        masks=masks,
        boxes=np.array([_box(mask) for mask in masks], dtype=np.float32).reshape(-1, 4),
        labels=np.array([label for _, label, _ in rows], dtype=np.int64),
        names=tuple(result.vocabulary.names[label] for _, label, _ in rows),
        scores=np.array(
            [UNKNOWN_SCORE if score is None else score for _, _, score in rows], dtype=np.float32
        ),
    )


def rle_rows(segments: Instances) -> list[dict[str, Any]]:
    """Returns one JSON row per segment, its mask, if any, as COCO's compressed run-length code."""
    rows = []
    for index, name in enumerate(segments.names):
        left, top, right, bottom = (float(side) for side in segments.boxes[index])
        score = float(segments.scores[index])
        rows.append(
            {
                "label": int(segments.labels[index]),
                "name": name,
                "score": None if np.isnan(score) else score,
                "area": segments.area(index),
                "bbox": [left, top, right - left, bottom - top],
                **segmentation_of(segments.masks, index),
                **_how_found(segments, index),
            }
        )
    return rows


def number_map(segments: Instances) -> npt.NDArray[np.int32]:
    """Numbers int32 [H, W] from 1 of the smallest segment at every pixel; 0 where there is none.

    Raises:
        ValueError: There are boxes alone.
    """
    masks = segments.masks
    if masks is None:
        raise ValueError("boxes have no pixels: a map of numbers is made of masks")
    if isinstance(masks, StoredMasks):
        order = masks.runs.areas().argsort(descending=True, stable=True).tolist()
        numbers: npt.NDArray[np.int32] = masks.runs.number_map(order).numpy()
        return numbers
    numbers = np.zeros(masks.shape[1:], dtype=np.int32)
    areas = masks.sum(axis=(1, 2))
    for number in np.argsort(-areas, kind="stable").tolist():
        numbers[masks[number]] = number + 1
    return numbers


def _how_found(segments: Instances, index: int) -> dict[str, Any]:
    """What is known of a segment that was looked for everywhere."""
    if segments.points is None or segments.windows is None:
        return {}
    assert segments.qualities is not None
    assert segments.stabilities is not None
    left, top, right, bottom = segments.windows[index].tolist()
    return {
        "quality": float(segments.qualities[index]),
        "stability": float(segments.stabilities[index]),
        "point": segments.points[index].tolist(),
        "window": [left, top, right - left, bottom - top],
    }


def supervision_detections(segments: Instances) -> Any:
    """Returns supervision's `Detections`; class names are in its data under "class_name".

    Raises:
        ImportError: Where the package is not installed; the message says how.
    """
    try:
        import supervision
    except ImportError as error:
        raise ImportError(
            "to_supervision needs the package supervision: pip install 'freeseg[supervision]'"
        ) from error
    if not segments.names:
        return supervision.Detections.empty()
    is_scored = not np.isnan(segments.scores).any()
    return supervision.Detections(
        xyxy=segments.boxes,
        mask=None if segments.masks is None else np.asarray(segments.masks),
        confidence=segments.scores if is_scored else None,
        class_id=segments.labels,
        data={"class_name": np.array(segments.names)},
    )


def _box(mask: Any) -> tuple[int, int, int, int]:
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return left, top, left + width, top + height

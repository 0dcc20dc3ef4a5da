"""What is kept of the result of a photo: a JSON record, by default with all that was found.

Shapes: H W photo size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from freeseg.data.coco_writer import encode_rle
from freeseg.segmenter import Segmenter
from freeseg.visualization import Segmentation


class Records(Protocol):
    """Makes records; small, because it is sent to every process."""

    def settings(self) -> dict[str, Any]:
        """JSON of what decides what is kept, beside the model."""

    def begin(self, segmenter: Segmenter) -> str | None:
        """Is called by every process before its first photo; may say what is to be asked."""

    def record_of(self, result: Segmentation, image_id: str, name: str) -> dict[str, Any]:
        """The record of a photo."""


@dataclass(frozen=True)
class AllFound:
    """Keeps all that was found."""

    def settings(self) -> dict[str, Any]:
        return {}

    def begin(self, segmenter: Segmenter) -> str | None:
        return None

    def record_of(self, result: Segmentation, image_id: str, name: str) -> dict[str, Any]:
        return record_of(result, image_id, Path(name).name)


def record_of(result: Segmentation, image_id: str, file_name: str) -> dict[str, Any]:
    """COCO's image row, and under each task's name its annotations with run-length masks.

    Instances are COCO's results as evaluators load them; panoptic segments and the regions of
    classes are annotations of the same form, which do not overlap.
    """
    height, width = result.image.shape[:2]
    image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
    record: dict[str, Any] = {"image": image}
    for task in result.scored:
        record[task] = result.to_coco(image_id, file_name)[f"{task}s"]
    if result.panoptic is not None:
        ids, segments = result.panoptic
        record["panoptic"] = [
            {
                **_annotation(result, image_id, segment.label, ids == segment.id),
                "score": segment.score,
            }
            for segment in segments
        ]
    if result.semantic is not None:
        record["semantic"] = [
            _annotation(result, image_id, label, result.semantic == label)
            for label in np.unique(result.semantic).tolist()
        ]
    return record


def _annotation(
    result: Segmentation, image_id: str, label: int, mask: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "category_id": result.category_ids[label],
        "category": result.vocabulary.names[label],
        "isthing": int(result.vocabulary.is_thing[label]),
        "area": int(np.count_nonzero(mask)),
        "bbox": list(cv2.boundingRect(mask.view(np.uint8))),
        "segmentation": encode_rle(mask),
    }

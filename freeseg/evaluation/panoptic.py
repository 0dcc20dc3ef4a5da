"""Panoptic quality of every class, which COCO's evaluator averages away.

Shapes: H W image size, G true segments, P predicted segments, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from freeseg.data.panoptic import VOID_ID, IdMap, runs

MIN_IOU = 0.5  # above it a match is unique
MAX_VOID = 0.5  # a prediction that is void or crowd by more than this share is nobody's fault

Counts = npt.NDArray[np.float64]


@dataclass
class PanopticCounts:
    """What was found, missed and made up, by class number; sums of images can be added.

    Attributes:
        iou: Sum of the overlaps of matches, [K].
        found: Matches, [K].
        made_up: Predictions without a true segment, [K].
        missed: True segments without a prediction, [K].
    """

    num_classes: int
    iou: Counts = field(init=False)
    found: Counts = field(init=False)
    made_up: Counts = field(init=False)
    missed: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.iou, self.found, self.made_up, self.missed = np.zeros((4, self.num_classes))

    def __iadd__(self, other: PanopticCounts) -> PanopticCounts:
        self.iou += other.iou
        self.found += other.found
        self.made_up += other.made_up
        self.missed += other.missed
        return self

    def add_image(
        self,
        true_ids: IdMap,
        true_segments: Sequence[Mapping[str, Any]],
        ids: IdMap,
        segments: Sequence[Mapping[str, Any]],
    ) -> None:
        """Counts one image.

        Args:
            true_ids: Segment ids [H, W], 0 for void.
            true_segments: Dicts with "id", "category_id" (a class number), perhaps "iscrowd".
            ids: The same of the prediction.
            segments: Dicts with "id" and "category_id".

        Raises:
            ValueError: If the maps differ in size.
        """
        overlap = _Overlap(true_ids, true_segments, ids, segments)
        is_match = (overlap.iou > MIN_IOU) & overlap.is_same_class & ~overlap.is_crowd[:, None]
        np.add.at(self.iou, overlap.classes[is_match.nonzero()[1]], overlap.iou[is_match])
        np.add.at(self.found, overlap.classes[is_match.any(0)], 1)
        is_missed = ~is_match.any(1) & ~overlap.is_crowd
        np.add.at(self.missed, overlap.true_classes[is_missed], 1)
        excused = overlap.void + overlap.crowd
        is_made_up = ~is_match.any(0) & (excused <= MAX_VOID * overlap.area)
        np.add.at(self.made_up, overlap.classes[is_made_up], 1)

    def quality(self) -> dict[str, Counts]:
        """PQ, SQ and RQ of every class in percent, nan where a class never occurs, [K] each."""
        with np.errstate(invalid="ignore", divide="ignore"):
            counted = self.found + 0.5 * self.made_up + 0.5 * self.missed
            panoptic = np.where(counted > 0, self.iou / counted, np.nan)
            segmentation = np.where(self.found > 0, self.iou / self.found, 0.0)
            recognition = np.where(counted > 0, self.found / counted, np.nan)
        segmentation = np.where(counted > 0, segmentation, np.nan)
        return {"PQ": 100 * panoptic, "SQ": 100 * segmentation, "RQ": 100 * recognition}


class _Overlap:
    """Areas that true [G] and predicted [P] segments of an image share."""

    def __init__(
        self,
        true_ids: IdMap,
        true_segments: Sequence[Mapping[str, Any]],
        ids: IdMap,
        segments: Sequence[Mapping[str, Any]],
    ) -> None:
        self.true_classes = _column(true_segments, "category_id")  # [G]
        self.is_crowd = _column(true_segments, "iscrowd").astype(bool)  # [G]
        self.classes = _column(segments, "category_id")  # [P]
        self.is_same_class = self.true_classes[:, None] == self.classes  # [G, P]
        if true_ids.shape != ids.shape:
            raise ValueError(f"a prediction {list(ids.shape)} for a truth {list(true_ids.shape)}")
        starts, lengths = runs(true_ids, ids)
        # 0 for void and unlisted ids
        rows = _places(true_ids.reshape(-1)[starts], _column(true_segments, "id"))
        columns = _places(ids.reshape(-1)[starts], _column(segments, "id"))
        shape = len(true_segments) + 1, len(segments) + 1
        pairs = np.bincount(rows * shape[1] + columns, lengths, minlength=shape[0] * shape[1])
        pairs = pairs.reshape(shape)
        shared = pairs[1:, 1:]  # [G, P]
        self.void = pairs[0, 1:]  # [P]
        self.area = pairs[:, 1:].sum(0)  # [P]
        self.crowd = (shared * (self.is_same_class & self.is_crowd[:, None])).sum(0)  # [P]
        # pixels without truth count neither for nor against a prediction
        union = pairs[1:].sum(1)[:, None] + self.area - shared - self.void
        self.iou = shared / np.maximum(union, 1)


def _column(segments: Sequence[Mapping[str, Any]], key: str) -> npt.NDArray[np.int64]:
    return np.array([int(row.get(key, 0)) for row in segments], dtype=np.int64)


def _places(ids: IdMap, known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 + the place of every id among the known ones, 0 where it is none of them."""
    present, inverse = np.unique(ids, return_inverse=True)
    place = {int(each): number for number, each in enumerate(known, start=1) if each != VOID_ID}
    places = np.array([place.get(int(each), 0) for each in present], dtype=np.int64)
    return places[inverse]

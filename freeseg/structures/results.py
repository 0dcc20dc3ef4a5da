"""The segmentation of one image, for every task that was asked for.

Shapes: K classes, N instances, H W output size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from freeseg.structures.runs import Runs
from freeseg.structures.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class SemanticMap:
    """The class of every pixel: scores of all of them, or the best one's label. One is None."""

    scores: Tensor | None = None  # [K, H, W]
    labels: Tensor | None = None  # int64 [H, W]

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.labels is None):
            raise ValueError("a semantic map has scores or labels, one of them")

    @property
    def values(self) -> Tensor:
        """What there is of the two."""
        return self.labels if self.scores is None else self.scores  # type: ignore[return-value]

    def best(self) -> Tensor:
        """Labels int64 [H, W]; of equal scores the first class."""
        return self.values if self.scores is None else self.scores.argmax(dim=0)


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map; keys as Detectron2's ``segments_info`` names them."""

    id: int  # value in the map, from 1
    category_id: int  # contiguous class id
    isthing: bool
    score: float | None  # class probability; None where a model gives none
    area: int  # pixels


@dataclass(frozen=True)
class PanopticMap:
    """Every pixel in at most one segment."""

    segment_ids: Tensor  # int32 [H, W], 0 is unassigned
    segments: tuple[Segment, ...]

    def without_small(self, min_area: int) -> PanopticMap:
        """This map without segments of fewer pixels; their pixels are unassigned."""
        small = [segment.id for segment in self.segments if segment.area < min_area]
        if not small:
            return self
        is_small = torch.isin(self.segment_ids, self.segment_ids.new_tensor(small))
        kept = tuple(segment for segment in self.segments if segment.area >= min_area)
        return PanopticMap(self.segment_ids.masked_fill(is_small, 0), kept)


@dataclass(frozen=True, eq=False)
class InstanceSet:
    """Scored, possibly overlapping masks; of class lists best first.

    Attributes:
        masks: Bool [N, H, W], or `Runs` of as many; None where there are boxes alone.
        boxes: Float [N, 4], xyxy pixels around the mask, zeros when it is empty.
        labels: int64 [N]; None where they have no classes.
        scores: Float [N] in [0, 1].
        qualities: Float [N], what the system itself says of its masks, of any range.
        owners: int64 [N], the row of the prompt that each answers; None: of the whole list.
        choices: int64 [N], 0 for an owner's answer, from 1 on for other readings of it.
        size: (H, W) where `masks` is None.
        mask_logits: Float [N, h, w], as the system decoded them, of all that it saw; None where it
            keeps none.
        stabilities: Float [N], how little of each mask depends on where its logits are cut.
        points: float64 [N, 2], (x, y) in photo pixels, what each was found by.
        windows: int64 [N, 4], left, top, right, bottom of the part of the photo it was found in.
        asked_boxes: Float [N, 4], xyxy pixels, the boxes that the masks were asked for.
    """

    masks: Tensor | Runs | None
    boxes: Tensor
    labels: Tensor | None
    scores: Tensor
    qualities: Tensor | None = None
    owners: Tensor | None = None
    choices: Tensor | None = None
    size: tuple[int, int] | None = None
    mask_logits: Tensor | None = None
    stabilities: Tensor | None = None
    points: Tensor | None = None
    windows: Tensor | None = None
    asked_boxes: Tensor | None = None

    def __post_init__(self) -> None:
        if self.masks is None and self.size is None:
            raise ValueError("boxes without masks need the size of the image")
        rows = {
            name: len(value)
            for name, value in vars(self).items()
            if isinstance(value, (Tensor, Runs))
        }
        if len(set(rows.values())) > 1:
            raise ValueError(f"fields of instances are of unlike numbers: {rows}")

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: Tensor) -> InstanceSet:
        """Some of them, by int64 indices."""
        assert not isinstance(self.masks, Runs)
        kept: dict[str, Any] = {
            name: value[rows] for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **kept)

    @property
    def image_size(self) -> tuple[int, int]:
        """(H, W)."""
        if self.masks is None:
            assert self.size is not None
            return self.size
        return self.masks.shape[-2], self.masks.shape[-1]


@dataclass(frozen=True)
class SegmentationResult:
    """What was asked for is set, the rest is None."""

    semantic: SemanticMap | None = None
    instances: InstanceSet | None = None
    panoptic: PanopticMap | None = None
    objects: InstanceSet | None = None  # what a prompt points at
    vocabulary: Vocabulary | None = None  # what labels index
    certainty: float | None = None  # in [0, 1], how far the model knows what it sees

    def computed(self) -> dict[str, Any]:
        """What is set, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def joined(self, other: SegmentationResult) -> SegmentationResult:
        """This one with the tasks of another of the same image; the less certain one counts."""
        known = [one.certainty for one in (self, other) if one.certainty is not None]
        return replace(self, **{**other.computed(), "certainty": min(known, default=None)})

"""The segmentation of one image in up to three tasks.

Shapes: K classes, N instances, H W output size.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from detectron2.structures import Boxes, Instances
from freeseg.structures.tasks import CERTAINTY_KEY


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map; keys as Detectron2's ``segments_info`` names them."""

    id: int  # value in the map, from 1
    category_id: int  # contiguous class id
    isthing: bool
    score: float  # class probability
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


@dataclass(frozen=True)
class InstanceSet:
    """Scored, possibly overlapping masks, best first."""

    masks: Tensor  # bool [N, H, W]
    boxes: Tensor  # float [N, 4], xyxy pixels around the mask, zeros when it is empty
    labels: Tensor  # int64 [N]
    scores: Tensor  # float [N] in [0, 1]


@dataclass(frozen=True)
class SegmentationResult:
    """What was asked for is set, the rest is None."""

    semantic: Tensor | None = None  # class scores [K, H, W], or labels int64 [H, W]
    instances: InstanceSet | None = None
    panoptic: PanopticMap | None = None
    certainty: float | None = None  # in [0, 1], how far the model knows what it sees

    def computed(self) -> dict[str, Any]:
        """What is set, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def joined(self, other: SegmentationResult) -> SegmentationResult:
        """This one with the tasks of another of the same image; the less certain one counts."""
        known = [one.certainty for one in (self, other) if one.certainty is not None]
        return replace(self, **{**other.computed(), "certainty": min(known, default=None)})

    def to_detectron2(self) -> dict[str, Any]:
        """The dict that Detectron2's evaluators read, and the certainty where it is known."""
        output: dict[str, Any] = {}
        if self.semantic is not None:
            output["sem_seg"] = self.semantic
        if self.panoptic is not None:
            info = [asdict(segment) for segment in self.panoptic.segments]
            output["panoptic_seg"] = (self.panoptic.segment_ids, info)
        if self.instances is not None:
            output["instances"] = Instances(
                tuple(self.instances.masks.shape[-2:]),
                pred_masks=self.instances.masks,
                pred_boxes=Boxes(self.instances.boxes),
                scores=self.instances.scores,
                pred_classes=self.instances.labels,
            )
        if self.certainty is not None:
            output[CERTAINTY_KEY] = self.certainty
        return output

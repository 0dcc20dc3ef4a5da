"""Grounded-SAM (Ren et al., arXiv 2401.14159): a system that finds boxes, and one that fills them.

Shapes: N boxes, H W photo size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.config import completed
from freeseg.inference import PhotoInput
from freeseg.names import register
from freeseg.ops import nms, nms_by_class
from freeseg.structures import InstanceSet, Marks, Prompt, Request, SegmentationResult, Takes, Task
from freeseg.structures.requests import Wants
from freeseg.systems.grounded_sam.config import grounded_sam_parts
from freeseg.systems.grounded_sam.features import ComposedFeatures, EncodedTwice
from freeseg.systems.system import PreparedImages, SegmentationSystem

AS_RGB = PhotoInput()  # each part resizes and orders photos its own way
ONE_MASK = Wants(alternatives=False, single=True)


@register(META_ARCH_REGISTRY)
class GroundedSAM(SegmentationSystem[ComposedFeatures]):
    """Any system that answers words with boxes, and any that takes boxes."""

    answers: Mapping[Task, Takes] = {
        Task.INSTANCE: Takes(needs=frozenset({"classes"})),
        Task.OBJECT: Takes(needs=frozenset({"phrases"})),
    }

    @configurable
    def __init__(
        self,
        *,
        grounder: SegmentationSystem[Any],
        segmenter: SegmentationSystem[Any],
        min_score: float = 0.3,
        max_overlap: float | None = 0.8,
        per_class: bool = False,
    ) -> None:
        """Puts parts together that exchange boxes of the photo; arguments as of `freeseg.compose`.

        Raises:
            ValueError: The parts do not fit, or a rule is no share.
        """
        super().__init__(photo_input=AS_RGB, tasks=(Task.INSTANCE,))
        takes = segmenter.answers.get(Task.OBJECT, Takes())
        known = {
            task: its
            for task, its in grounder.answers.items()
            if task in self.answers and its.kinds & {"classes", "phrases"}
        }
        if "boxes" not in takes.kinds or not known:
            raise ValueError(
                "a grounder finds what words name and a segmenter takes boxes, "
                f"got {type(grounder).__name__} and {type(segmenter).__name__}"
            )
        for name, share in (("min_score", min_score), ("max_overlap", max_overlap)):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {share}")
        self.grounder, self.segmenter = grounder, segmenter
        self.answers, self.vocabulary = known, grounder.vocabulary
        self.min_score, self.max_overlap, self.per_class = min_score, max_overlap, per_class

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return grounded_sam_parts(completed(cfg))

    def encode(self, prepared: PreparedImages) -> ComposedFeatures:
        """The grounder's encoding; the segmenter's follows with the first box."""
        images = [
            EncodedTwice(image, frame, self.grounder, self.segmenter)
            for image, frame in zip(prepared.images, prepared.frames)
        ]
        return ComposedFeatures(prepared.frames, tuple(images))

    def answer(
        self, features: ComposedFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images: boxes of the grounder, each with a mask."""
        results = []
        for request in requests:
            image = features.images[request.index]
            found = self.grounder.answer(image.grounded, [replace(request, index=0)])[0]
            instances, objects = found.instances, found.objects
            if instances is not None:
                instances = self._filled(image, self._kept(instances))
            if objects is not None:
                objects = self._filled(image, objects)
            results.append(replace(found, instances=instances, objects=objects))
        return results

    def _kept(self, found: InstanceSet) -> InstanceSet:
        """Boxes that are good enough and lie on no better one, the best first."""
        found = found.select(torch.nonzero(found.scores >= self.min_score)[:, 0])
        if self.max_overlap is None:
            return found
        if self.per_class and found.labels is not None:
            rows = nms_by_class(found.boxes, found.scores, found.labels, self.max_overlap)
        else:
            rows = nms(found.boxes, found.scores, self.max_overlap)
        return found.select(rows)

    def _filled(self, image: EncodedTwice, found: InstanceSet) -> InstanceSet:
        """Instances with the masks in their boxes; a box without area has an empty one."""
        rows = torch.nonzero((found.boxes[:, 2:] > found.boxes[:, :2]).all(1))[:, 0]
        masks = torch.zeros(len(found), *found.image_size, dtype=torch.bool, device=rows.device)
        boxes = torch.zeros_like(found.boxes)
        if len(rows):
            marks = Marks.read(found.image_size, boxes=found.boxes[rows].cpu())
            asked = Request(0, (Task.OBJECT,), Prompt(marks=marks), wants=ONE_MASK)
            filled: Any = self.segmenter.answer(image.segmented, [asked])[0].objects
            masks[rows] = filled.masks.to(masks.device)
            boxes[rows] = filled.boxes.to(boxes)
        return replace(found, masks=masks, boxes=boxes, asked_boxes=found.boxes, size=None)

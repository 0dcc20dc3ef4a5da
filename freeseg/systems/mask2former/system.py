"""Mask2Former (Cheng et al., CVPR 2022, arXiv 2112.01527): one architecture for three tasks.

Shapes: B images, Q queries, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from freeseg.config import assembly_arguments, completed, criterion_arguments
from freeseg.inference import MaskAnswers, PhotoInput, Thresholds
from freeseg.names import register
from freeseg.structures import (
    MaskPrediction,
    PyramidFeatures,
    Request,
    Sample,
    SegmentationResult,
    Vocabulary,
)
from freeseg.systems.mask_system import MaskSystem, mask_system_arguments
from freeseg.training import SetCriterion


@register(META_ARCH_REGISTRY)
class Mask2Former(MaskSystem):
    """Backbone, pixel decoder, masked query decoder, closed set of classes."""

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        sem_seg_head: nn.Module,
        criterion: nn.Module,
        vocabulary: Vocabulary,
        thresholds: Thresholds,
        tasks: Sequence[str],
        resize_masks_first: bool,
        photo_input: PhotoInput,
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together; see `MaskSystem`.

        Args:
            backbone: Detectron2 backbone.
            sem_seg_head: A `MaskFormerHead`.
            criterion: `SetCriterion`.
            vocabulary: The classes it predicts.
            thresholds: Of the post-processing.
            tasks: Answered when an input names none.
            resize_masks_first: See `MaskAnswers`.
            photo_input: How photos become images, and images a batch.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__(
            backbone=backbone,
            sem_seg_head=sem_seg_head,
            criterion=criterion,
            vocabulary=vocabulary,
            thresholds=thresholds,
            tasks=tasks,
            photo_input=photo_input,
            ignore_label=ignore_label,
        )
        self.assemble = MaskAnswers(thresholds, resize_masks_first)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = completed(cfg)
        return {
            **mask_system_arguments(cfg),
            "criterion": SetCriterion(**criterion_arguments(cfg)),
            "resize_masks_first": assembly_arguments(cfg)["resize_masks_first"],
        }

    def decode(self, features: PyramidFeatures, rows: Sequence[int]) -> MaskPrediction:
        """The final prediction for some images."""
        return self.sem_seg_head.final(features.select(rows))

    def answer(
        self, features: PyramidFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images; each image is decoded once."""
        rows = list(dict.fromkeys(request.index for request in requests))
        prediction = self.decode(features, rows)
        results = []
        for request in requests:
            row, frame = rows.index(request.index), features.frames[request.index]
            class_logits, mask_logits = prediction.class_logits[row], prediction.mask_logits[row]
            result = self.assemble(
                request.tasks,
                class_logits,
                mask_logits,
                frame,
                self.vocabulary,
                wants_labels=request.wants_labels,
            )
            if request.wants_certainty:
                shown = frame.without_padding(mask_logits)
                result = replace(result, certainty=self.certainty(class_logits, shown))
            results.append(replace(result, vocabulary=self.vocabulary))
        return results

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Weighted losses of annotated images by name."""
        features = self.encode_samples(samples)
        return self.criterion(self.sem_seg_head(features), self.targets(samples, features))


@register(META_ARCH_REGISTRY)
class MaskFormer(Mask2Former):
    """`Mask2Former` under the name that the published configurations use."""

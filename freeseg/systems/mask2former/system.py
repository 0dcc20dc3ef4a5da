"""Mask2Former (Cheng et al., CVPR 2022, arXiv 2112.01527): one architecture for three tasks.

Shapes: B images, Q queries, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.config import completed, criterion_arguments
from freeseg.names import register
from freeseg.structures import (
    MaskPrediction,
    PyramidFeatures,
    Request,
    Sample,
    SegmentationResult,
)
from freeseg.systems.mask_system import ClosedMaskSystem, mask_system_arguments
from freeseg.training import SetCriterion


@register(META_ARCH_REGISTRY)
class Mask2Former(ClosedMaskSystem):
    """Backbone, pixel decoder, masked query decoder, closed set of classes."""

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = completed(cfg)
        return {
            **mask_system_arguments(cfg),
            "criterion": SetCriterion(**criterion_arguments(cfg)),
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
        return [
            self.result(one.tasks, one, prediction, rows.index(one.index), features)
            for one in requests
        ]

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Weighted losses of annotated images by name."""
        features = self.encode_samples(samples)
        return self.criterion(self.sem_seg_head(features), self.targets(samples, features))


@register(META_ARCH_REGISTRY)
class MaskFormer(Mask2Former):
    """`Mask2Former` under the name that the published configurations use."""

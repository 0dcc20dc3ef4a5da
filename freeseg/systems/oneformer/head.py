"""OneFormer's segmentation head."""

from __future__ import annotations

from torch import Tensor

from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from freeseg.modeling import MaskFormerHead
from freeseg.names import register
from freeseg.structures import MaskPrediction, PyramidFeatures
from freeseg.systems.oneformer.decoder import TaskConditionedOutput


@register(SEM_SEG_HEADS_REGISTRY)
class OneFormerHead(MaskFormerHead):
    """`MaskFormerHead` whose query decoder is told the task of every image."""

    def forward(  # type: ignore[override]
        self, features: PyramidFeatures, task_tokens: Tensor
    ) -> TaskConditionedOutput:
        """Runs the query decoder with task tokens [B, C]."""
        return self.predictor(features, task_tokens)

    def final(  # type: ignore[override]
        self, features: PyramidFeatures, task_tokens: Tensor
    ) -> MaskPrediction:
        """The final prediction alone, for inference, with task tokens [B, C] or [B, T, C]."""
        return self.predictor.final(features, task_tokens)  # type: ignore[operator]

"""Query-text contrastive loss (OneFormer, arXiv 2211.06220, section 3.3).

Shapes: B images of this process, W processes, Q queries, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F

from detectron2.utils import comm
from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.training.criterion import SetCriterion

MAX_LOGIT_SCALE = 100.0


class ContrastiveSetCriterion(SetCriterion):
    """The set criterion's losses and, on the initial queries, the contrastive one."""

    def __init__(
        self,
        *,
        contrastive_weight: float,
        temperature: float,
        num_classes: int,
        weights: Mapping[str, float],
        no_object_weight: float,
        num_points: int,
        oversample_ratio: float,
        importance_sample_ratio: float,
        deep_supervision: bool = True,
    ) -> None:
        """Sets the weights.

        Args:
            contrastive_weight: Of ``loss_contrastive``.
            temperature: At the start; it is learned.
            num_classes: This and what follows as in `SetCriterion`.
            weights: Of its losses.
            no_object_weight: Cross-entropy weight of unmatched queries.
            num_points: Points sampled per mask.
            oversample_ratio: Candidates per point.
            importance_sample_ratio: Share of points chosen for uncertainty.
            deep_supervision: Whether all layers are supervised or only the last.
        """
        super().__init__(
            num_classes=num_classes,
            weights=weights,
            no_object_weight=no_object_weight,
            num_points=num_points,
            oversample_ratio=oversample_ratio,
            importance_sample_ratio=importance_sample_ratio,
            deep_supervision=deep_supervision,
        )
        self.contrastive_weight = contrastive_weight
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(  # type: ignore[override]
        self,
        predictions: Sequence[MaskPrediction],
        targets: Sequence[SegmentationTarget],
        queries: Tensor,
        texts: Tensor,
    ) -> dict[str, Tensor]:
        """Weighted losses by name: the set criterion's and ``loss_contrastive``.

        Args:
            predictions: Of every layer, the final one last.
            targets: One per image.
            queries: [B, Q, C].
            texts: [B, Q, C].
        """
        scale = self.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
        loss = contrastive(queries, texts, scale)
        losses = super().forward(predictions, targets)
        return {**losses, "loss_contrastive": loss * self.contrastive_weight}


def contrastive(queries: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy: which text of the global batch belongs to an image, and back.

    Each image's queries, and its texts, are one vector of length one. Averaged over processes it
    is the loss of the global batch, and so is its gradient.

    Args:
        queries: [B, Q, C].
        texts: [B, Q, C].
        scale: Factor of the cosines, scalar.
    """
    queries, texts = (F.normalize(x.float().flatten(1), dim=-1) for x in (queries, texts))
    all_queries, all_texts = _gather(queries), _gather(texts)  # [W*B, Q*C]
    own = torch.arange(len(queries), device=queries.device) + len(queries) * comm.get_rank()
    of_images = F.cross_entropy(scale * queries @ all_texts.T, own)
    of_texts = F.cross_entropy(scale * texts @ all_queries.T, own)
    return of_images + of_texts


def _gather(rows: Tensor) -> Tensor:
    """Rows of all processes in order of rank; gradients find their way back."""
    if comm.get_world_size() == 1:
        return rows
    return torch.cat(all_gather(rows))

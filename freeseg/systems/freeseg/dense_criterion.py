"""Matching and losses on whole masks, as MaskFormer and FreeSeg are trained.

Shapes: N matched masks, Q queries, h w prediction size, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from freeseg.structures import SegmentationTarget
from freeseg.training.criterion import SetCriterion
from freeseg.training.losses import dice, pairwise_dice, pairwise_sigmoid_focal, sigmoid_focal
from freeseg.training.matcher import HungarianMatcher


class DenseMatcher(HungarianMatcher):
    """Mask costs are focal loss and dice at the resolution of the prediction."""

    def __init__(self, *, weights: Mapping[str, float]) -> None:
        super().__init__(weights=weights, num_points=0)

    def _mask_costs(
        self, mask_logits: Tensor, targets: Sequence[SegmentationTarget]
    ) -> tuple[Tensor, Tensor]:
        size = mask_logits.shape[-2:]
        small = [
            F.interpolate(target.masks[:, None].float(), size, mode="nearest").flatten(1)
            for target in targets
        ]
        logits, labels = mask_logits.flatten(2), pad_sequence(small, batch_first=True)
        return pairwise_sigmoid_focal(logits, labels), pairwise_dice(logits, labels)


class DenseCriterion(SetCriterion):
    """Focal loss and dice of masks enlarged to the padded image; points are not sampled."""

    def _build_matcher(self) -> DenseMatcher:
        return DenseMatcher(weights=self.weights)

    def _mask_losses(
        self, mask_logits: Tensor, target_masks: Tensor, num_masks: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = mask_logits.float()
        if len(logits):
            size = target_masks.shape[-2:]
            logits = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
        else:  # keeps the graph: zero losses with zero gradients
            target_masks = mask_logits.detach()
        logits, labels = logits.flatten(1), target_masks.flatten(1).float()
        return sigmoid_focal(logits, labels, num_masks), dice(logits, labels, num_masks)

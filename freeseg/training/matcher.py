"""One-to-one assignment of predicted masks to ground truth (DETR, arXiv 2005.12872, section 3.1).

Shapes: B images, Q queries, K classes, T targets of one image, P points, h w mask size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.training.losses import pairwise_dice, pairwise_sigmoid_cross_entropy

Assignment = tuple[Tensor, Tensor]  # query and target indices, int64 [min(Q, T)]


class HungarianMatcher(nn.Module):
    """Cheapest assignment by class probability, mask cross-entropy and dice.

    Mask costs are taken at `num_points` random points, the same for all masks of an image
    (Mask2Former, section 3.3).
    """

    def __init__(self, *, weights: Mapping[str, float], num_points: int) -> None:
        """Sets the costs.

        Args:
            weights: Of ``loss_ce``, ``loss_mask`` and ``loss_dice``: the losses' own weights.
            num_points: Points per image.

        Raises:
            ValueError: When all weights are zero.
        """
        super().__init__()
        if not any(weights.values()):
            raise ValueError("at least one matching cost must have a weight, all are zero")
        self.weights = dict(weights)
        self.num_points = num_points

    @torch.no_grad()
    def forward(
        self, prediction: MaskPrediction, targets: Sequence[SegmentationTarget]
    ) -> list[Assignment]:
        """Returns (query indices, target indices) on the CPU for every image."""
        with torch.autocast(prediction.mask_logits.device.type, enabled=False):
            return [
                self._assign(logits.float(), masks.float(), target)
                for logits, masks, target in zip(
                    prediction.class_logits, prediction.mask_logits, targets
                )
            ]

    def _assign(
        self, class_logits: Tensor, mask_logits: Tensor, target: SegmentationTarget
    ) -> Assignment:
        if not len(target.labels):
            nothing = torch.empty(0, dtype=torch.int64)
            return nothing, nothing
        mask_cost, dice_cost = self._mask_costs(mask_logits, target.masks.float())
        cost = (
            self.weights["loss_ce"] * -class_logits.softmax(-1)[:, target.labels]
            + self.weights["loss_mask"] * mask_cost
            + self.weights["loss_dice"] * dice_cost
        )  # [Q, T]
        # A diverged model must reach the trainer's own non-finite check, not fail in here.
        finite = cost.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6).cpu().numpy()
        queries, chosen = linear_sum_assignment(finite)
        return torch.as_tensor(queries), torch.as_tensor(chosen)

    def _mask_costs(self, mask_logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mask and dice cost [Q, T] of logits [Q, h, w] and targets [T, H, W]."""
        points = torch.rand(self.num_points, 2, device=mask_logits.device)
        logits = sample_at(mask_logits, points)  # [Q, P]
        labels = sample_at(targets, points)  # [T, P]
        return pairwise_sigmoid_cross_entropy(logits, labels), pairwise_dice(logits, labels)


def sample_at(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples [N, P] of maps [N, h, w] at points [P, 2], (x, y) in [0, 1]."""
    grid = (2 * points - 1)[None, None]  # [1, 1, P, 2]
    return F.grid_sample(maps[None], grid, align_corners=False)[0, :, 0]

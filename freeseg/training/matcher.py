"""One-to-one assignment of predicted masks to ground truth (DETR, arXiv 2005.12872, section 3.1).

Shapes: B images, Q queries, K classes, T targets of the image that has most, N of all images,
P points, h w mask size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

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
        counts = [len(target.labels) for target in targets]
        if not any(counts):
            return [(torch.empty(0, dtype=torch.int64),) * 2 for _ in targets]
        with torch.autocast(prediction.mask_logits.device.type, enabled=False):
            mask_cost, dice_cost = self._mask_costs(prediction.mask_logits.float(), targets)
            labels = pad_sequence([target.labels for target in targets], batch_first=True)
            probs = prediction.class_logits.float().softmax(-1)  # [B, Q, K+1]
            cost = (
                self.weights["loss_ce"]
                * -probs.gather(2, labels[:, None].expand(-1, probs.shape[1], -1))
                + self.weights["loss_mask"] * mask_cost
                + self.weights["loss_dice"] * dice_cost
            )  # [B, Q, T]
        costs = cost.cpu()
        return [cheapest(rows[:, :count]) for rows, count in zip(costs, counts)]

    def _mask_costs(
        self, mask_logits: Tensor, targets: Sequence[SegmentationTarget]
    ) -> tuple[Tensor, Tensor]:
        """Mask and dice costs [B, Q, T] of logits [B, Q, h, w]; what T pads means nothing."""
        points = torch.rand(len(targets), self.num_points, 2, device=mask_logits.device)
        logits = sample_at(mask_logits, points)  # [B, Q, P]
        counts = [len(target.labels) for target in targets]
        masks = torch.cat([target.masks for target in targets])[:, None].float()  # [N, 1, H, W]
        owners = torch.arange(len(targets)).repeat_interleave(torch.tensor(counts))
        labels = sample_at(masks, points[owners.to(points.device)])[:, 0]  # [N, P]
        labels = pad_sequence(labels.split(counts), batch_first=True)  # [B, T, P]
        return pairwise_sigmoid_cross_entropy(logits, labels), pairwise_dice(logits, labels)


def cheapest(cost: Tensor) -> Assignment:
    """The cheapest pairs of a matrix [Q, T], on the CPU."""
    from scipy.optimize import linear_sum_assignment  # slow to import, and training's alone

    # A diverged model must reach the trainer's own non-finite check, not fail in here.
    finite = cost.nan_to_num(nan=1e6, posinf=1e6, neginf=-1e6)
    queries, chosen = linear_sum_assignment(finite.cpu().numpy())
    return torch.as_tensor(queries), torch.as_tensor(chosen)


def sample_at(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples [N, C, P] of maps [N, C, h, w] at points [N, P, 2], (x, y) in [0, 1]."""
    return F.grid_sample(maps, (2 * points - 1)[:, None], align_corners=False)[:, :, 0]

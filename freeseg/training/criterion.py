"""Set criterion: match every layer's masks to the ground truth and sum the losses.

Shapes: B images, Q queries, K classes, T targets of all images, N matched masks, P points,
h w mask size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.projects.point_rend.point_features import (
    get_uncertain_point_coords_with_randomness,
    point_sample,
)
from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.training.losses import dice, sigmoid_cross_entropy
from freeseg.training.matcher import Assignment, HungarianMatcher
from freeseg.training.shares import count_targets, mean_over_processes, parts_of_batch


@dataclass(frozen=True)
class Matched:
    """Matched queries of a batch and their targets, numbered through the batch."""

    images: Tensor  # int64 [N]
    queries: Tensor  # int64 [N], in their image
    chosen: Tensor  # int64 [N], among all T targets


class SetCriterion(nn.Module):
    """Classification, mask and dice losses with deep supervision (Mask2Former, section 3.3).

    Every sum is normalised by its count over all processes and parts, so that a global batch gives
    the same loss however many share it.
    """

    empty_weight: Tensor

    def __init__(
        self,
        *,
        num_classes: int | None,
        weights: Mapping[str, float],
        no_object_weight: float,
        num_points: int,
        oversample_ratio: float,
        importance_sample_ratio: float,
        deep_supervision: bool = True,
    ) -> None:
        """Sets the weights.

        Args:
            num_classes: K, or None when it may differ from call to call.
            weights: Of ``loss_ce``, ``loss_mask`` and ``loss_dice``, for losses and matching.
            no_object_weight: Cross-entropy weight of unmatched queries.
            num_points: Points sampled per mask.
            oversample_ratio: Candidates per point among which uncertain ones are chosen.
            importance_sample_ratio: Share of points chosen for uncertainty, the rest is random.
            deep_supervision: Whether all layers are supervised or only the last.
        """
        super().__init__()
        self.weights = dict(weights)
        self.num_points = num_points
        self.matcher = self._build_matcher()
        self.oversample_ratio = oversample_ratio
        self.importance_sample_ratio = importance_sample_ratio
        self.deep_supervision = deep_supervision
        self.no_object_weight = no_object_weight
        self.has_fixed_classes = num_classes is not None
        if num_classes is not None:  # releases keep the weights among the parameters
            weight = self._new_class_weight(torch.empty(num_classes + 1))
            self.register_buffer("empty_weight", weight)

    def _build_matcher(self) -> HungarianMatcher:
        return HungarianMatcher(weights=self.weights, num_points=self.num_points)

    def forward(
        self, predictions: Sequence[MaskPrediction], targets: Sequence[SegmentationTarget]
    ) -> dict[str, Tensor]:
        """Weighted losses by name.

        Args:
            predictions: Of every layer, the final one last.
            targets: One per image.

        Returns:
            ``loss_ce``, ``loss_mask``, ``loss_dice`` of the final layer, and with a suffix
            ``_0``, ``_1``, ... of the earlier ones.
        """
        supervised = predictions if self.deep_supervision else predictions[-1:]
        suffixes = chain((f"_{index}" for index in range(len(supervised) - 1)), [""])
        num_masks = mean_over_processes(
            predictions[-1].class_logits.new_tensor(sum(count_targets(targets)))
        ).clamp(min=1)
        num_masks = num_masks / parts_of_batch()
        labels = torch.cat([target.labels for target in targets])  # [T]
        masks = torch.cat([target.masks for target in targets])  # [T, H, W]
        losses: dict[str, Tensor] = {}
        for suffix, prediction in zip(suffixes, supervised):
            matched = _join(self.matcher(prediction, targets), targets)
            mask_loss, dice_loss = self._mask_losses(
                prediction.mask_logits[matched.images, matched.queries],  # [N, h, w]
                masks[matched.chosen],  # [N, H, W]
                num_masks,
            )
            found = {
                "loss_ce": self._classification(prediction.class_logits, labels, matched),
                "loss_mask": mask_loss,
                "loss_dice": dice_loss,
            }
            for name, loss in found.items():
                losses[name + suffix] = loss * self.weights[name]
        return losses

    def _mask_losses(
        self, mask_logits: Tensor, target_masks: Tensor, num_masks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mask and dice loss of logits [N, h, w] and targets [N, H, W]."""
        logits, labels = self._sample_points(mask_logits, target_masks)
        return sigmoid_cross_entropy(logits, labels, num_masks), dice(logits, labels, num_masks)

    def _classification(
        self,
        class_logits: Tensor,
        target_labels: Tensor,
        matched: Matched,
    ) -> Tensor:
        """Cross-entropy over all queries, weighted mean over all processes."""
        no_object = class_logits.shape[-1] - 1
        labels = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)
        labels[matched.images, matched.queries] = target_labels[matched.chosen]
        weight = (
            self.empty_weight
            if self.has_fixed_classes
            else self._new_class_weight(class_logits[0, 0].float())
        )
        loss = F.cross_entropy(
            class_logits.float().flatten(0, 1), labels.flatten(), weight, reduction="sum"
        )
        return loss / self._mean_class_weight(weight[labels])

    def _mean_class_weight(self, weights: Tensor) -> Tensor:
        """Sum of the weights [B, Q] of all queries of this share of a batch, over processes."""
        parts = parts_of_batch()
        if parts == 1:
            return mean_over_processes(weights.sum())
        # How many queries the other parts will match is known before they are decoded.
        num_queries = weights.shape[1]
        counts = count_targets(())
        matched = sum(min(count, num_queries) for count in counts)
        total = matched + self.no_object_weight * (len(counts) * num_queries - matched)
        return mean_over_processes(weights.new_tensor(total)) / parts

    def _new_class_weight(self, like: Tensor) -> Tensor:
        weight = torch.ones_like(like)
        weight[-1] = self.no_object_weight
        return weight

    def _sample_points(self, mask_logits: Tensor, target_masks: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and labels [N, P] at points sought where the prediction is uncertain."""
        mask_logits = mask_logits[:, None].float()  # [N, 1, h, w]
        if not len(mask_logits):
            nothing = mask_logits.flatten(1)  # keeps the graph: zero losses with zero gradients
            return nothing, nothing.detach()
        with torch.no_grad():
            points = get_uncertain_point_coords_with_randomness(
                mask_logits,
                _uncertainty,
                self.num_points,
                self.oversample_ratio,
                self.importance_sample_ratio,
            )  # [N, P, 2]
            labels = point_sample(target_masks[:, None].float(), points, align_corners=False)
        logits = point_sample(mask_logits, points, align_corners=False)
        return logits[:, 0], labels[:, 0]


def _join(assignments: Sequence[Assignment], targets: Sequence[SegmentationTarget]) -> Matched:
    """The assignments of all images on the targets' device."""
    sizes = torch.tensor([len(queries) for queries, _ in assignments])
    starts = torch.tensor([0, *(len(target.labels) for target in targets)])[:-1].cumsum(0)
    columns = torch.stack(
        [
            torch.arange(len(assignments)).repeat_interleave(sizes),
            torch.cat([queries for queries, _ in assignments]),
            torch.cat([chosen for _, chosen in assignments]) + starts.repeat_interleave(sizes),
        ]
    )
    return Matched(*columns.to(targets[0].labels.device))


def _uncertainty(logits: Tensor) -> Tensor:
    """Largest where the probability is nearest to one half."""
    return -logits.abs()

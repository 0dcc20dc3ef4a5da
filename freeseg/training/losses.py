"""Mask losses on sampled points or whole masks, and the same as pairwise matching costs.

Shapes: N matched masks, Q queries, T targets, P points.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

FOCAL_BALANCE = 0.25  # weight of foreground; background has the rest (arXiv 1708.02002)
FOCAL_GAMMA = 2


def sigmoid_cross_entropy(logits: Tensor, labels: Tensor, num_masks: Tensor) -> Tensor:
    """Binary cross-entropy, mean over points and sum over masks [N, P], per `num_masks`."""
    loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return loss.mean(1).sum() / num_masks


def sigmoid_focal(logits: Tensor, labels: Tensor, num_masks: Tensor) -> Tensor:
    """Focal loss, mean over pixels and sum over masks [N, P], per `num_masks`."""
    as_foreground, as_background = focal_parts(logits)
    loss = as_foreground * labels + as_background * (1 - labels)
    return loss.mean(1).sum() / num_masks


def dice(logits: Tensor, labels: Tensor, num_masks: Tensor) -> Tensor:
    """One minus the smoothed Dice coefficient of masks [N, P], summed, per `num_masks`."""
    probs = logits.sigmoid()
    overlap = 2 * (probs * labels).sum(1)
    total = probs.sum(1) + labels.sum(1)
    return (1 - (overlap + 1) / (total + 1)).sum() / num_masks


def pairwise_sigmoid_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of every query [..., Q, P] with every target [..., T, P]: [..., Q, T].

    softplus(-x) = softplus(x) - x, so one product tells the pairs apart.
    """
    total = F.softplus(logits).sum(-1, keepdim=True) - logits @ labels.mT
    return total / logits.shape[-1]


def pairwise_dice(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the smoothed Dice coefficient of every pair: [..., Q, T]."""
    probs = logits.sigmoid()
    overlap = 2 * probs @ labels.mT
    total = probs.sum(-1)[..., :, None] + labels.sum(-1)[..., None, :]
    return 1 - (overlap + 1) / (total + 1)


def pairwise_sigmoid_focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of every query [..., Q, P] with every target [..., T, P]: [..., Q, T]."""
    as_foreground, as_background = focal_parts(logits)
    total = as_background.sum(-1, keepdim=True) + (as_foreground - as_background) @ labels.mT
    return total / logits.shape[-1]


def focal_parts(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of every logit if its label were 1, and if it were 0."""
    probs = logits.sigmoid()
    as_foreground = FOCAL_BALANCE * (1 - probs) ** FOCAL_GAMMA * F.softplus(-logits)
    as_background = (1 - FOCAL_BALANCE) * probs**FOCAL_GAMMA * F.softplus(logits)
    return as_foreground, as_background

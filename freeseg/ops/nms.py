"""Non-maximum suppression on tensors: torchvision's C operators may be missing.

Shapes: N boxes, K kept.
"""

from __future__ import annotations

import torch
from torch import Tensor


def nms(boxes: Tensor, scores: Tensor, max_overlap: float) -> Tensor:
    """Boxes that no better one overlaps; what ``torchvision.ops.nms`` gives.

    From the best on, each box that is left is kept and removes those whose intersection by union
    with it is above `max_overlap`. Boxes of one score stand in their order.

    Args:
        boxes: [N, 4], xyxy.
        scores: [N].
        max_overlap: In [0, 1].

    Returns:
        int64 [K], indices of what is kept, the best first.

    Raises:
        ValueError: Shapes do not fit.
    """
    if boxes.shape != (len(scores), 4) or scores.dim() != 1:
        raise ValueError(
            f"wanted boxes [N, 4] and scores [N], got {tuple(boxes.shape)}, {tuple(scores.shape)}"
        )
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[_overlaps(boxes[best], boxes[left]) <= max_overlap]
    return torch.stack(kept) if kept else left


def nms_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, max_overlap: float) -> Tensor:
    """As `nms`, but only boxes of one label [N] remove each other."""
    kept = [torch.empty(0, dtype=torch.int64, device=boxes.device)]
    for label in labels.unique():
        own = torch.nonzero(labels == label)[:, 0]
        kept.append(own[nms(boxes[own], scores[own], max_overlap)])
    indices = torch.cat(kept).sort().values
    return indices[scores[indices].argsort(descending=True, stable=True)]


def _overlaps(box: Tensor, others: Tensor) -> Tensor:
    """Intersection by union [N] of one box and others; none is NaN: a box without area has none."""
    corners = torch.maximum(box[:2], others[:, :2])
    inside = (torch.minimum(box[2:], others[:, 2:]) - corners).clamp(min=0).prod(1)
    union = _area(box) + _area(others) - inside
    return torch.where(union > 0, inside / union, torch.zeros_like(inside))


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])

"""Box regression losses on matched boxes in x0 y0 x1 y1 form."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def diou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """Distance-IoU loss (arXiv:1911.08287, eq. 7) of boxes [N, 4] or [4]."""
    iou, center_penalty = _iou_and_center_penalty(boxes1, boxes2, eps)
    return _reduce(1 - iou + center_penalty, reduction)


def ciou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """Complete-IoU loss (arXiv:1911.08287, eq. 10) of boxes [N, 4] or [4]."""
    iou, center_penalty = _iou_and_center_penalty(boxes1, boxes2, eps)
    angle_difference = _aspect_angle(boxes2) - _aspect_angle(boxes1)
    aspect_penalty = 4 / math.pi**2 * angle_difference.square()
    with torch.no_grad():
        weight = aspect_penalty / (1 - iou + aspect_penalty + eps)
    return _reduce(1 - iou + center_penalty + weight * aspect_penalty, reduction)


def _iou_and_center_penalty(boxes1: Tensor, boxes2: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    top_left1, bottom_right1 = boxes1.split(2, dim=-1)
    top_left2, bottom_right2 = boxes2.split(2, dim=-1)
    size1, size2 = bottom_right1 - top_left1, bottom_right2 - top_left2
    assert (size1[..., 0] >= 0).all(), "bad box: x1 larger than x2"
    assert (size1[..., 1] >= 0).all(), "bad box: y1 larger than y2"

    overlap = torch.min(bottom_right1, bottom_right2) - torch.max(top_left1, top_left2)
    intersection = torch.where((overlap > 0).all(-1), overlap.prod(-1), 0 * overlap[..., 0])
    iou = intersection / (size1.prod(-1) + size2.prod(-1) - intersection + eps)

    enclosing = torch.max(bottom_right1, bottom_right2) - torch.min(top_left1, top_left2)
    shift = (top_left1 + bottom_right1 - top_left2 - bottom_right2) / 2
    return iou, shift.square().sum(-1) / (enclosing.square().sum(-1) + eps)


def _aspect_angle(boxes: Tensor) -> Tensor:
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
    return torch.atan(width / height)


def _reduce(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "sum" or (reduction == "mean" and loss.numel() == 0):
        return loss.sum()
    return loss.mean() if reduction == "mean" else loss

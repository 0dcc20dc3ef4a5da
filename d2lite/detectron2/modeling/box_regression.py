"""Boxes as changes of other boxes, and the loss of such changes.

Shapes: R boxes, K classes, N images.
"""

from __future__ import annotations

import math

import torch
from fvcore.nn import giou_loss, smooth_l1_loss

from detectron2.layers import ciou_loss, diou_loss
from detectron2.structures import Boxes

__all__ = ["Box2BoxTransform"]

_DEFAULT_SCALE_CLAMP = math.log(1000.0 / 16)  # no box grows from 16 to more than 1000 pixels


class Box2BoxTransform:
    """Shifts a box by fractions of its size and scales it exponentially (R-CNN)."""

    def __init__(self, weights, scale_clamp=_DEFAULT_SCALE_CLAMP):
        """Set the units.

        Args:
            weights: factors on the shifts in x and y and the logarithms of width and height.
            scale_clamp: largest logarithm of a change of size.
        """
        self.weights = weights
        self.scale_clamp = scale_clamp

    def get_deltas(self, src_boxes, target_boxes):
        """Return the changes [R, 4] that lead from boxes [R, 4] to others."""
        source, source_size = _centers_and_sizes(src_boxes)
        target, target_size = _centers_and_sizes(target_boxes)
        assert (source_size[:, 0] > 0).all(), "boxes to transform must not be empty"
        weights = src_boxes.new_tensor(list(self.weights))
        shift = weights[:2] * (target - source) / source_size
        scale = weights[2:] * torch.log(target_size / source_size)
        return torch.cat([shift, scale], dim=1)

    def apply_deltas(self, deltas, boxes):
        """Change boxes [R, 4] by deltas [R, K*4]; return boxes of the shape of ``deltas``."""
        shape = deltas.shape
        deltas = deltas.float().view(
            shape[0], shape[1] // 4, 4
        )  # half precision is too coarse for pixels
        center, size = _centers_and_sizes(boxes.to(deltas.dtype)[:, None])  # [R, 1, 2]
        deltas = deltas / deltas.new_tensor(list(self.weights))
        center = deltas[..., :2] * size + center
        size = torch.exp(deltas[..., 2:].clamp(max=self.scale_clamp)) * size
        return torch.cat([center - 0.5 * size, center + 0.5 * size], dim=-1).reshape(shape)


def _centers_and_sizes(boxes):
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size


def _dense_box_regression_loss(
    anchors,
    box2box_transform,
    pred_anchor_deltas,
    gt_boxes,
    fg_mask,
    box_reg_loss_type="smooth_l1",
    smooth_l1_beta=0.0,
):
    """Return the sum of the box losses of the foreground.

    Args:
        anchors: per level Boxes or [R_l, 4].
        box2box_transform: between anchors and boxes.
        pred_anchor_deltas: per level predictions [N, R_l, 4].
        gt_boxes: per image true boxes [R, 4].
        fg_mask: what is foreground, [N, R].
        box_reg_loss_type: "smooth_l1", "giou", "diou" or "ciou".
        smooth_l1_beta: where "smooth_l1" turns from quadratic to linear.
    """
    anchors = torch.cat([a.tensor if isinstance(a, Boxes) else a for a in anchors])  # [R, 4]
    predicted = torch.cat(list(pred_anchor_deltas), dim=1)  # [N, R, 4]
    if box_reg_loss_type == "smooth_l1":
        wanted = torch.stack([box2box_transform.get_deltas(anchors, gt) for gt in gt_boxes])
        return smooth_l1_loss(
            predicted[fg_mask], wanted[fg_mask], beta=smooth_l1_beta, reduction="sum"
        )
    overlap_losses = {"giou": giou_loss, "diou": diou_loss, "ciou": ciou_loss}
    if box_reg_loss_type not in overlap_losses:
        raise ValueError(f"Invalid dense box regression loss type '{box_reg_loss_type}'")
    boxes = torch.stack([box2box_transform.apply_deltas(d, anchors) for d in predicted])
    loss = overlap_losses[box_reg_loss_type]
    return loss(boxes[fg_mask], torch.stack(list(gt_boxes))[fg_mask], reduction="sum")

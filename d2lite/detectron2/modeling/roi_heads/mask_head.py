"""Masks of regions (He et al., 2017).

Shapes: R regions of all images, C classes (or 1 for all), S side of a predicted mask.
"""

from __future__ import annotations

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from torch import nn

from detectron2.config import configurable
from detectron2.layers import Conv2d, ConvTranspose2d, get_norm
from detectron2.utils.events import get_event_storage
from detectron2.utils.registry import Registry

__all__ = [
    "ROI_MASK_HEAD_REGISTRY",
    "BaseMaskRCNNHead",
    "MaskRCNNConvUpsampleHead",
    "build_mask_head",
]

ROI_MASK_HEAD_REGISTRY = Registry("ROI_MASK_HEAD")
ROI_MASK_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, ShapeSpec) -> Module``: masks of regions.
"""


def build_mask_head(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_MASK_HEAD.NAME`` names."""
    return ROI_MASK_HEAD_REGISTRY.get(cfg.MODEL.ROI_MASK_HEAD.NAME)(cfg, input_shape)


def mask_rcnn_loss(pred_mask_logits, instances, vis_period=0):
    """Return the mean cross entropy of the masks of the true classes.

    Args:
        pred_mask_logits: [R, C, S, S].
        instances: per image Instances with ``proposal_boxes``, ``gt_classes`` and ``gt_masks``.
        vis_period: put pictures of the masks every so many iterations; 0 never.
    """
    side = pred_mask_logits.shape[-1]
    assert pred_mask_logits.shape[-2] == side, "Mask prediction must be square!"
    instances = [i for i in instances if len(i) > 0]
    if not instances:
        return pred_mask_logits.sum() * 0
    targets = torch.cat(
        [i.gt_masks.crop_and_resize(i.proposal_boxes.tensor, side) for i in instances]
    ).to(pred_mask_logits.device)  # [R, S, S]
    is_inside = targets if targets.dtype == torch.bool else targets > 0.5
    targets = targets.float()
    logits = _of_classes(pred_mask_logits, [i.gt_classes.long() for i in instances])
    _put_accuracy(logits, is_inside)
    storage = get_event_storage()
    if vis_period > 0 and storage.iter % vis_period == 0:
        for i, pair in enumerate(torch.cat([logits.sigmoid(), targets], dim=2)):
            name = f"Left: mask prediction;   Right: mask GT ({i})"
            storage.put_image(name, pair.expand(3, -1, -1))
    return F.binary_cross_entropy_with_logits(logits, targets)


def _put_accuracy(logits, is_inside):
    storage = get_event_storage()
    is_wrong = (logits > 0) != is_inside
    inside, total = is_inside.sum().item(), is_inside.numel()
    shares = {
        "accuracy": 1 - is_wrong.sum().item() / max(total, 1),
        "false_positive": (is_wrong & ~is_inside).sum().item() / max(total - inside, 1),
        "false_negative": (is_wrong & is_inside).sum().item() / max(inside, 1),
    }
    for name, share in shares.items():
        storage.put_scalar(f"mask_rcnn/{name}", share)


def mask_rcnn_inference(pred_mask_logits, pred_instances):
    """Give every predicted instance the probabilities of its class as ``pred_masks``.

    Args:
        pred_mask_logits: [R, C, S, S].
        pred_instances: per image Instances with ``pred_classes``; ``pred_masks`` will be
            [number of instances, 1, S, S].
    """
    logits = _of_classes(pred_mask_logits, [i.pred_classes for i in pred_instances])
    probs = logits.sigmoid()[:, None].split([len(i) for i in pred_instances])
    for instances, masks in zip(pred_instances, probs):
        instances.pred_masks = masks


def _of_classes(logits, classes):
    """Return [R, S, S] of [R, C, S, S]."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[torch.arange(len(logits), device=logits.device), torch.cat(classes)]


class BaseMaskRCNNHead(nn.Module):
    """Loss and inference around the method ``layers`` of subclasses."""

    @configurable
    def __init__(self, *, loss_weight=1.0, vis_period=0):
        """``loss_weight`` multiplies the loss; for ``vis_period`` see :func:`mask_rcnn_loss`."""
        super().__init__()
        self.loss_weight = loss_weight
        self.vis_period = vis_period

    @classmethod
    def from_config(cls, cfg, input_shape):
        return {"vis_period": cfg.VIS_PERIOD}

    def forward(self, x, instances):
        """Return losses in training, otherwise the instances with their masks.

        Args:
            x: features of the regions.
            instances: see :func:`mask_rcnn_loss` and :func:`mask_rcnn_inference`.
        """
        logits = self.layers(x)
        if self.training:
            loss = mask_rcnn_loss(logits, instances, self.vis_period)
            return {"loss_mask": loss * self.loss_weight}
        mask_rcnn_inference(logits, instances)
        return instances

    def layers(self, x):
        """Return mask logits [R, C, S, S] of region features."""
        raise NotImplementedError


@ROI_MASK_HEAD_REGISTRY.register()
class MaskRCNNConvUpsampleHead(BaseMaskRCNNHead):
    """3x3 convolutions, an upsampling one, and a 1x1 one for the logits."""

    @configurable
    def __init__(self, input_shape, *, num_classes, conv_dims, conv_norm="", **kwargs):
        """Build the head; the layers run in the order that they are added in.

        Args:
            input_shape: ShapeSpec of the pooled features.
            num_classes: C.
            conv_dims: widths of the convolutions, the upsampling one last.
            conv_norm: anything that :func:`detectron2.layers.get_norm` takes.
            **kwargs: of :class:`BaseMaskRCNNHead`.
        """
        super().__init__(**kwargs)
        assert len(conv_dims) >= 1, "conv_dims have to be non-empty!"
        *widths, upsampled = conv_dims
        channels = input_shape.channels
        for i, width in enumerate(widths, start=1):
            conv = Conv2d(
                channels,
                width,
                kernel_size=3,
                padding=1,
                bias=not conv_norm,
                norm=get_norm(conv_norm, width),
                activation=nn.ReLU(),
            )
            self.add_module(f"mask_fcn{i}", conv)
            channels = width
        self.deconv = ConvTranspose2d(channels, upsampled, kernel_size=2, stride=2)
        self.deconv_relu = nn.ReLU()
        self.predictor = Conv2d(upsampled, num_classes, kernel_size=1)
        for name, layer in self.named_children():
            if name.startswith("mask_fcn") or name == "deconv":
                weight_init.c2_msra_fill(layer)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    @classmethod
    def from_config(cls, cfg, input_shape):
        options = cfg.MODEL.ROI_MASK_HEAD
        is_shared = options.CLS_AGNOSTIC_MASK
        return {
            **super().from_config(cfg, input_shape),
            "input_shape": input_shape,
            "num_classes": 1 if is_shared else cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "conv_dims": [options.CONV_DIM] * (options.NUM_CONV + 1),
            "conv_norm": options.NORM,
        }

    def layers(self, x):
        for layer in self.children():
            x = layer(x)
        return x

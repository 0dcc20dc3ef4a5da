"""Semantic segmentation: the model around a backbone and a head, and the FPN head.

Shapes: B images, K classes, H W image size, h w size of the finest feature.
"""

from __future__ import annotations

import math

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from torch import nn

from detectron2.config import configurable
from detectron2.layers import Conv2d, get_norm
from detectron2.structures import ImageList
from detectron2.utils.registry import Registry

from ..backbone import build_backbone
from ..postprocessing import sem_seg_postprocess
from .build import META_ARCH_REGISTRY

__all__ = [
    "SEM_SEG_HEADS_REGISTRY",
    "SemSegFPNHead",
    "SemanticSegmentor",
    "build_sem_seg_head",
]

SEM_SEG_HEADS_REGISTRY = Registry("SEM_SEG_HEADS")
SEM_SEG_HEADS_REGISTRY.__doc__ = """
Callables ``(cfg, {feature name: ShapeSpec}) -> Module``: per-pixel predictions from features.
"""


def build_sem_seg_head(cfg, input_shape):
    """Build the head that ``cfg.MODEL.SEM_SEG_HEAD.NAME`` names."""
    return SEM_SEG_HEADS_REGISTRY.get(cfg.MODEL.SEM_SEG_HEAD.NAME)(cfg, input_shape)


@META_ARCH_REGISTRY.register()
class SemanticSegmentor(nn.Module):
    """Segments images semantically with any backbone and any semantic head."""

    @configurable
    def __init__(self, *, backbone, sem_seg_head, pixel_mean, pixel_std):
        """Take the two networks and, per channel, mean and deviation of the pixel values."""
        super().__init__()
        self.backbone = backbone
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(list(values)).view(-1, 1, 1), persistent=False)
        assert self.pixel_mean.shape == self.pixel_std.shape, (
            f"{pixel_mean} and {pixel_std} have different lengths"
        )
        self.sem_seg_head = sem_seg_head

    @classmethod
    def from_config(cls, cfg):
        backbone = build_backbone(cfg)
        return {
            "backbone": backbone,
            "sem_seg_head": build_sem_seg_head(cfg, backbone.output_shape()),
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
        }

    def forward(self, batched_inputs):
        """Train or segment.

        Args:
            batched_inputs: one dict per image with "image" [C, H, W]; in training also "sem_seg"
                [H, W]; in inference optionally "height" and "width" of the wanted output.

        Returns:
            In training the losses, otherwise one ``{"sem_seg": scores [K, height, width]}`` per
            image.
        """
        images = self.preprocess_image(batched_inputs)
        targets = None
        if "sem_seg" in batched_inputs[0]:
            labels = [item["sem_seg"].to(self.device) for item in batched_inputs]
            targets = self._pad(labels, self.sem_seg_head.ignore_value).tensor
        results, losses = self.sem_seg_head(self.backbone(images.tensor), targets)
        if self.training:
            return losses
        outputs = []
        for item, scores, size in zip(batched_inputs, results, images.image_sizes):
            height, width = item.get("height", size[0]), item.get("width", size[1])
            outputs.append({"sem_seg": sem_seg_postprocess(scores, size, height, width)})
        return outputs

    @property
    def device(self):
        """Where the model is."""
        return self.pixel_mean.device

    def preprocess_image(self, batched_inputs):
        """Return the inputs' images [3, H, W], normalised and padded, as an ImageList."""
        images = [item["image"].to(self.device) for item in batched_inputs]
        return self._pad([(i - self.pixel_mean) / self.pixel_std for i in images], 0.0)

    def _pad(self, tensors, fill):
        return ImageList.from_tensors(
            tensors,
            self.backbone.size_divisibility,
            fill,
            padding_constraints=self.backbone.padding_constraints,
        )


@SEM_SEG_HEADS_REGISTRY.register()
class SemSegFPNHead(nn.Module):
    """Brings all FPN levels to one stride, sums them and classifies (Kirillov et al., 2019)."""

    @configurable
    def __init__(
        self,
        input_shape,
        *,
        num_classes,
        conv_dims,
        common_stride,
        loss_weight=1.0,
        norm=None,
        ignore_value=-1,
    ):
        """Build the head.

        Args:
            input_shape: ``{feature name: ShapeSpec}``.
            num_classes: K.
            conv_dims: width of the convolutions.
            common_stride: stride that all levels are brought to.
            loss_weight: factor on the loss.
            norm: anything that :func:`detectron2.layers.get_norm` takes.
            ignore_value: label that does not count.
        """
        super().__init__()
        if not input_shape:
            raise ValueError("SemSegFPNHead needs at least one input feature")
        by_stride = sorted(input_shape.items(), key=lambda named: named[1].stride)
        self.in_features = [name for name, _ in by_stride]
        self.ignore_value = ignore_value
        self.common_stride = common_stride
        self.loss_weight = loss_weight
        self.scale_heads = []
        for name, shape in by_stride:
            branch = nn.Sequential(*_to_stride(shape, common_stride, conv_dims, norm))
            self.scale_heads.append(branch)
            self.add_module(name, branch)
        self.predictor = Conv2d(conv_dims, num_classes, kernel_size=1)
        weight_init.c2_msra_fill(self.predictor)

    @classmethod
    def from_config(cls, cfg, input_shape):
        options = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": {k: v for k, v in input_shape.items() if k in options.IN_FEATURES},
            "num_classes": options.NUM_CLASSES,
            "conv_dims": options.CONVS_DIM,
            "common_stride": options.COMMON_STRIDE,
            "loss_weight": options.LOSS_WEIGHT,
            "norm": options.NORM,
            "ignore_value": options.IGNORE_VALUE,
        }

    def forward(self, features, targets=None):
        """Return ``(None, losses)`` in training and ``(logits [B, K, H, W], {})`` otherwise."""
        logits = self.layers(features)  # [B, K, h, w]
        if self.training:
            return None, self.losses(logits, targets)
        return self._upsample(logits), {}

    def layers(self, features):
        """Return logits at the common stride."""
        scaled = [head(features[f]) for head, f in zip(self.scale_heads, self.in_features)]
        return self.predictor(sum(scaled[1:], scaled[0]))

    def losses(self, predictions, targets):
        """Return the cross entropy at full size."""
        logits = self._upsample(predictions.float())
        loss = F.cross_entropy(logits, targets, reduction="mean", ignore_index=self.ignore_value)
        return {"loss_sem_seg": loss * self.loss_weight}

    def _upsample(self, logits):
        return F.interpolate(
            logits, scale_factor=self.common_stride, mode="bilinear", align_corners=False
        )


def _to_stride(shape, common_stride, width, norm):
    """Yield convolutions, each followed by a doubling of the size while one is needed."""
    doublings = int(math.log2(shape.stride / common_stride))
    for i in range(max(1, doublings)):
        conv = Conv2d(
            shape.channels if i == 0 else width,
            width,
            kernel_size=3,
            padding=1,
            bias=not norm,
            norm=get_norm(norm, width),
            activation=F.relu,
        )
        weight_init.c2_msra_fill(conv)
        yield conv
        if shape.stride != common_stride:
            yield nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

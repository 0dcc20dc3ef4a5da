"""Network between the pooled features of a region and the predictions for its box."""

from __future__ import annotations

import math

import fvcore.nn.weight_init as weight_init
from torch import nn

from detectron2.config import configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.utils.registry import Registry

__all__ = ["ROI_BOX_HEAD_REGISTRY", "FastRCNNConvFCHead", "build_box_head"]

ROI_BOX_HEAD_REGISTRY = Registry("ROI_BOX_HEAD")
ROI_BOX_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, ShapeSpec) -> Module`` with ``output_shape``: box features of regions.
"""


def build_box_head(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_BOX_HEAD.NAME`` names."""
    return ROI_BOX_HEAD_REGISTRY.get(cfg.MODEL.ROI_BOX_HEAD.NAME)(cfg, input_shape)


@ROI_BOX_HEAD_REGISTRY.register()
class FastRCNNConvFCHead(nn.Sequential):
    """3x3 convolutions, then fully connected layers."""

    @configurable
    def __init__(self, input_shape, *, conv_dims, fc_dims, conv_norm=""):
        """Build the head.

        Args:
            input_shape: ShapeSpec of the pooled features.
            conv_dims: widths of the convolutions.
            fc_dims: widths of the fully connected layers.
            conv_norm: anything that :func:`detectron2.layers.get_norm` takes.
        """
        super().__init__()
        assert len(conv_dims) + len(fc_dims) > 0, "a head needs at least one layer"
        channels, area = input_shape.channels, (input_shape.height, input_shape.width)
        convs, fcs = [], []
        for i, width in enumerate(conv_dims, start=1):
            conv = Conv2d(
                channels,
                width,
                kernel_size=3,
                padding=1,
                bias=not conv_norm,
                norm=get_norm(conv_norm, width),
                activation=nn.ReLU(),
            )
            self.add_module(f"conv{i}", conv)
            convs.append(conv)
            channels = width
        self._output_shape = ShapeSpec(channels=channels, height=area[0], width=area[1])
        if fc_dims:
            self.add_module("flatten", nn.Flatten())
            channels *= math.prod(area)
        for i, width in enumerate(fc_dims, start=1):
            fcs.append(nn.Linear(channels, width))
            self.add_module(f"fc{i}", fcs[-1])
            self.add_module(f"fc_relu{i}", nn.ReLU())
            channels = width
            self._output_shape = ShapeSpec(channels=channels)
        for conv in convs:
            weight_init.c2_msra_fill(conv)
        for fc in fcs:
            weight_init.c2_xavier_fill(fc)

    @classmethod
    def from_config(cls, cfg, input_shape):
        options = cfg.MODEL.ROI_BOX_HEAD
        return {
            "input_shape": input_shape,
            "conv_dims": [options.CONV_DIM] * options.NUM_CONV,
            "fc_dims": [options.FC_DIM] * options.NUM_FC,
            "conv_norm": options.NORM,
        }

    @property
    def output_shape(self):
        """ShapeSpec of the output."""
        return self._output_shape

"""Feature pyramid network (Lin et al., 2017) with Detectron2's parameter names."""

from __future__ import annotations

import copy
import math

import fvcore.nn.weight_init as weight_init
import torch.nn.functional as F
from torch import nn

from detectron2.layers import Conv2d, get_norm

from .backbone import Backbone
from .build import BACKBONE_REGISTRY
from .resnet import build_resnet_backbone

__all__ = ["FPN", "build_resnet_fpn_backbone", "build_retinanet_resnet_fpn_backbone"]


class FPN(Backbone):
    """Merges the features of a backbone from coarse to fine into equally wide maps p2, p3, ..."""

    __constants__ = ("_fuse_type",)

    def __init__(
        self,
        bottom_up,
        in_features,
        out_channels,
        norm="",
        top_block=None,
        fuse_type="sum",
        square_pad=0,
    ):
        """Build the pyramid.

        Args:
            bottom_up: the backbone below.
            in_features: names of its features to use, fine to coarse, each of twice the stride
                of the one before.
            out_channels: width of the pyramid.
            norm: anything that :func:`detectron2.layers.get_norm` takes.
            top_block: module that adds ``num_levels`` coarser levels from its ``in_feature``.
            fuse_type: "sum" or "avg" of lateral and upsampled features.
            square_pad: side of the square that images must be padded to; 0 for none.
        """
        super().__init__()
        assert isinstance(bottom_up, Backbone), type(bottom_up)
        assert in_features, "in_features must name at least one feature"
        assert fuse_type in ("avg", "sum"), fuse_type
        shapes = [bottom_up.output_shape()[name] for name in in_features]
        levels = [int(math.log2(shape.stride)) for shape in shapes]
        strides = [shape.stride for shape in shapes]
        for fine, coarse in zip(strides, strides[1:]):
            assert coarse == 2 * fine, f"strides {strides} must double from level to level"

        laterals, outputs = [], []
        for level, shape in zip(levels, shapes):
            laterals.append(_conv(shape.channels, out_channels, 1, norm))
            outputs.append(_conv(out_channels, out_channels, 3, norm))
            weight_init.c2_xavier_fill(laterals[-1])
            weight_init.c2_xavier_fill(outputs[-1])
            self.add_module(f"fpn_lateral{level}", laterals[-1])
            self.add_module(f"fpn_output{level}", outputs[-1])
        self.lateral_convs = laterals[::-1]  # coarse to fine, the order of the forward pass
        self.output_convs = outputs[::-1]
        self.top_block = top_block
        self.in_features = tuple(in_features)
        self.bottom_up = bottom_up

        strides_by_name = {f"p{level}": stride for level, stride in zip(levels, strides)}
        if top_block is not None:
            for level in range(levels[-1] + 1, levels[-1] + 1 + top_block.num_levels):
                strides_by_name[f"p{level}"] = 2**level
        self._out_features = list(strides_by_name)
        self._out_feature_strides = strides_by_name
        self._out_feature_channels = dict.fromkeys(strides_by_name, out_channels)
        self._size_divisibility = strides[-1]
        self._square_pad = square_pad
        self._fuse_type = fuse_type

    @property
    def size_divisibility(self):
        return self._size_divisibility

    @property
    def padding_constraints(self):
        return {"square_size": self._square_pad}

    def forward(self, x):
        """Return ``{"p2": ..., "p3": ...}``, fine to coarse, of what ``bottom_up`` takes."""
        features = self.bottom_up(x)
        merged = self.lateral_convs[0](features[self.in_features[-1]])
        results = [self.output_convs[0](merged)]
        for i, (lateral, output) in enumerate(zip(self.lateral_convs, self.output_convs)):
            if i > 0:  # TorchScript cannot slice a ModuleList
                upsampled = F.interpolate(merged, scale_factor=2.0, mode="nearest")
                merged = lateral(features[self.in_features[-i - 1]]) + upsampled
                if self._fuse_type == "avg":
                    merged = merged / 2
                results.insert(0, output(merged))
        if self.top_block is not None:
            name = self.top_block.in_feature
            own = name not in features
            source = results[self._out_features.index(name)] if own else features[name]
            results = results + self.top_block(source)
        return {name: result for name, result in zip(self._out_features, results)}  # noqa: C416

    def __prepare_scriptable__(self):
        """Give TorchScript the convolutions as ModuleLists."""
        scriptable = copy.deepcopy(self)
        scriptable.lateral_convs = nn.ModuleList(scriptable.lateral_convs)
        scriptable.output_convs = nn.ModuleList(scriptable.output_convs)
        for name in [n for n, _ in self.named_children()]:
            if name.startswith(("fpn_lateral", "fpn_output")):
                delattr(scriptable, name)
        return scriptable


class LastLevelMaxPool(nn.Module):
    """Adds p6, every second position of p5."""

    def __init__(self):
        super().__init__()
        self.num_levels = 1
        self.in_feature = "p5"

    def forward(self, x):
        return [F.max_pool2d(x, kernel_size=1, stride=2, padding=0)]


class LastLevelP6P7(nn.Module):
    """Adds p6 and p7 by strided convolutions of ``in_feature`` (RetinaNet)."""

    def __init__(self, in_channels, out_channels, in_feature="res5"):
        super().__init__()
        self.num_levels = 2
        self.in_feature = in_feature
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        weight_init.c2_xavier_fill(self.p6)
        weight_init.c2_xavier_fill(self.p7)

    def forward(self, c5):
        p6 = self.p6(c5)
        return [p6, self.p7(F.relu(p6))]


@BACKBONE_REGISTRY.register()
def build_resnet_fpn_backbone(cfg, input_shape):
    """Build ResNet-FPN with levels p2 .. p6."""
    return _from_config(cfg, build_resnet_backbone(cfg, input_shape), LastLevelMaxPool())


@BACKBONE_REGISTRY.register()
def build_retinanet_resnet_fpn_backbone(cfg, input_shape):
    """Build ResNet-FPN with levels p3 .. p7."""
    bottom_up = build_resnet_backbone(cfg, input_shape)
    top = LastLevelP6P7(bottom_up.output_shape()["res5"].channels, cfg.MODEL.FPN.OUT_CHANNELS)
    return _from_config(cfg, bottom_up, top)


def _from_config(cfg, bottom_up, top_block):
    options = cfg.MODEL.FPN
    return FPN(
        bottom_up,
        options.IN_FEATURES,
        options.OUT_CHANNELS,
        norm=options.NORM,
        top_block=top_block,
        fuse_type=options.FUSE_TYPE,
    )


def _conv(in_channels, out_channels, kernel_size, norm):
    return Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        padding=kernel_size // 2,
        bias=norm == "",
        norm=get_norm(norm, out_channels),
    )

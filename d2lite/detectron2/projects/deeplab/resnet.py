"""ResNet with DeepLab's stem and dilations."""

from __future__ import annotations

import torch.nn.functional as F

from detectron2.layers import CNNBlockBase
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone.resnet import (
    BasicStem,
    ResNet,
    _conv,
    _fill_msra,
    stages_from_config,
)

_BLOCKS_BY_DEPTH = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class DeepLabStem(CNNBlockBase):
    """Three 3x3 convolutions and max pooling, stride 4 together."""

    def __init__(self, in_channels=3, out_channels=128, norm="BN"):
        """``norm`` is anything that :func:`detectron2.layers.get_norm` takes."""
        super().__init__(in_channels, out_channels, 4)
        self.in_channels = in_channels
        half = out_channels // 2
        self.conv1 = _conv(in_channels, half, 3, norm, stride=2)
        self.conv2 = _conv(half, half, 3, norm)
        self.conv3 = _conv(half, out_channels, 3, norm)
        _fill_msra(self.conv1, self.conv2, self.conv3)

    def forward(self, x):
        x = F.relu_(self.conv1(x))
        x = F.relu_(self.conv2(x))
        x = F.relu_(self.conv3(x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


@BACKBONE_REGISTRY.register()
def build_resnet_deeplab_backbone(cfg, input_shape):
    """Build a ResNet from ``cfg.MODEL.RESNETS`` with the keys of ``add_deeplab_config``."""
    options = cfg.MODEL.RESNETS
    stems = {"basic": BasicStem, "deeplab": DeepLabStem}
    if options.STEM_TYPE not in stems:
        raise ValueError(
            f"MODEL.RESNETS.STEM_TYPE must be one of {sorted(stems)}, not {options.STEM_TYPE!r}"
        )
    stem = stems[options.STEM_TYPE](input_shape.channels, options.STEM_OUT_CHANNELS, options.NORM)
    res4, res5 = options.RES4_DILATION, options.RES5_DILATION
    assert res4 in (1, 2), f"MODEL.RESNETS.RES4_DILATION must be 1 or 2, not {res4}"
    assert res5 in (1, 2, 4), f"MODEL.RESNETS.RES5_DILATION must be 1, 2 or 4, not {res5}"
    assert res4 == 1 or res5 == 4, "a dilated res4 needs MODEL.RESNETS.RES5_DILATION = 4"
    num_stages = max(int(name[len("res") :]) - 1 for name in options.OUT_FEATURES)
    stages = stages_from_config(
        options,
        _BLOCKS_BY_DEPTH,
        dilations=(1, 1, res4, res5)[:num_stages],
        multi_grid=options.RES5_MULTI_GRID,
    )
    network = ResNet(stem, stages, out_features=options.OUT_FEATURES)
    return network.freeze(cfg.MODEL.BACKBONE.FREEZE_AT)

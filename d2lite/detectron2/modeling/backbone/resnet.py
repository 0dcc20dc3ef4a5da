"""ResNet (He et al., 2015) with Detectron2's parameter names, and its builder from a config."""

from __future__ import annotations

import copy

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from torch import nn

from detectron2._missing import missing
from detectron2.layers import CNNBlockBase, Conv2d, get_norm

from .backbone import Backbone
from .build import BACKBONE_REGISTRY

__all__ = [
    "BasicBlock",
    "BasicStem",
    "BottleneckBlock",
    "ResNet",
    "ResNetBlockBase",
    "build_resnet_backbone",
    "make_stage",
]

# Residual blocks of res2, res3, res4, res5 by network depth.
_BLOCKS_BY_DEPTH = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_STAGE_NAMES = ("res2", "res3", "res4", "res5")

ResNetBlockBase = CNNBlockBase  # older name that user code may import


class BasicBlock(CNNBlockBase):
    """Two 3x3 convolutions around an identity or projection shortcut (ResNet-18 and -34)."""

    def __init__(self, in_channels, out_channels, *, stride=1, norm="BN"):
        """``norm`` is anything that :func:`detectron2.layers.get_norm` takes."""
        super().__init__(in_channels, out_channels, stride)
        self.shortcut = _projection(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, out_channels, 3, norm, stride=stride)
        self.conv2 = _conv(out_channels, out_channels, 3, norm)
        _fill_msra(self.conv1, self.conv2, self.shortcut)

    def forward(self, x):
        residual = self.conv2(F.relu_(self.conv1(x)))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return F.relu_(residual + x)


class BottleneckBlock(CNNBlockBase):
    """1x1, 3x3 and 1x1 convolutions around a shortcut (ResNet-50 and deeper)."""

    def __init__(
        self,
        in_channels,
        out_channels,
        *,
        bottleneck_channels,
        stride=1,
        num_groups=1,
        norm="BN",
        stride_in_1x1=False,
        dilation=1,
    ):
        """Configure the block.

        Args:
            in_channels: width before the block.
            out_channels: width after it.
            bottleneck_channels: width of the 3x3 convolution.
            stride: of the whole block.
            num_groups: groups of the 3x3 convolution.
            norm: anything that :func:`detectron2.layers.get_norm` takes.
            stride_in_1x1: the first 1x1 convolution strides (MSRA weights) instead of the 3x3.
            dilation: of the 3x3 convolution.
        """
        super().__init__(in_channels, out_channels, stride)
        outer, inner = (stride, 1) if stride_in_1x1 else (1, stride)
        width = bottleneck_channels
        self.shortcut = _projection(in_channels, out_channels, stride, norm)
        self.conv1 = _conv(in_channels, width, 1, norm, stride=outer)
        self.conv2 = _conv(
            width, width, 3, norm, stride=inner, dilation=dilation, groups=num_groups
        )
        self.conv3 = _conv(width, out_channels, 1, norm)
        _fill_msra(self.conv1, self.conv2, self.conv3, self.shortcut)

    def forward(self, x):
        residual = F.relu_(self.conv1(x))
        residual = F.relu_(self.conv2(residual))
        residual = self.conv3(residual)
        if self.shortcut is not None:
            x = self.shortcut(x)
        return F.relu_(residual + x)


class BasicStem(CNNBlockBase):
    """7x7 convolution and 3x3 max pooling, stride 4 together."""

    def __init__(self, in_channels=3, out_channels=64, norm="BN"):
        """``norm`` is anything that :func:`detectron2.layers.get_norm` takes."""
        super().__init__(in_channels, out_channels, 4)
        self.in_channels = in_channels
        self.conv1 = _conv(in_channels, out_channels, 7, norm, stride=2)
        _fill_msra(self.conv1)

    def forward(self, x):
        x = F.relu_(self.conv1(x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class ResNet(Backbone):
    """A stem and stages ``res2`` .. ``res5``, with an optional classifier named ``linear``."""

    def __init__(self, stem, stages, num_classes=None, out_features=None, freeze_at=0):
        """Assemble the network.

        Args:
            stem: a module with ``stride`` and ``out_channels``.
            stages: per stage a list of CNNBlockBase.
            num_classes: adds global pooling and a linear classifier.
            out_features: names to return, of "stem", "res2" .. "res5", "linear"; by default the
                last. Stages behind the last one named are dropped.
            freeze_at: see :meth:`freeze`.
        """
        super().__init__()
        self.stem = stem
        self.num_classes = num_classes
        self._out_feature_strides = {"stem": stem.stride}
        self._out_feature_channels = {"stem": stem.out_channels}
        if out_features is not None:
            deepest = max(
                _STAGE_NAMES.index(f) + 1 if f in _STAGE_NAMES else 0 for f in out_features
            )
            stages = stages[:deepest]
        self.stages, self.stage_names = [], ()
        for blocks in stages:
            self._append_stage(blocks)
        last = self.stage_names[-1] if self.stage_names else "stem"

        if num_classes is not None:
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.linear = nn.Linear(self._out_feature_channels[last], num_classes)
            nn.init.normal_(self.linear.weight, std=0.01)  # as in Goyal et al. 2017, section 5.1
            last = "linear"

        self._out_features = [last] if out_features is None else out_features
        assert len(self._out_features), "out_features must name at least one layer"
        available = [name for name, _ in self.named_children()]
        for name in self._out_features:
            assert name in available, f"unknown feature {name!r}; available: {available}"
        self.freeze(freeze_at)

    def _append_stage(self, blocks):
        assert len(blocks) > 0, "a stage needs at least one block"
        stride = self._out_feature_strides[self.stage_names[-1] if self.stage_names else "stem"]
        for block in blocks:
            assert isinstance(block, CNNBlockBase), block
            stride *= block.stride
        name = f"res{len(self.stages) + 2}"
        stage = nn.Sequential(*blocks)
        self.add_module(name, stage)
        self.stages.append(stage)
        self.stage_names += (name,)
        self._out_feature_strides[name] = int(stride)
        self._out_feature_channels[name] = blocks[-1].out_channels

    def forward(self, x):
        """Return the requested features of images [B, 3, H, W]."""
        assert x.dim() == 4, f"ResNet takes a batch of shape (B, C, H, W), got {x.shape}"
        outputs = {}
        x = self.stem(x)
        if "stem" in self._out_features:
            outputs["stem"] = x
        for name, stage in zip(self.stage_names, self.stages):
            x = stage(x)
            if name in self._out_features:
                outputs[name] = x
        if self.num_classes is not None:
            x = self.linear(torch.flatten(self.avgpool(x), 1))
            if "linear" in self._out_features:
                outputs["linear"] = x
        return outputs

    def freeze(self, freeze_at=0):
        """Freeze the stem (1 and more), res2 (2 and more), res3 (3 and more) ...; return self."""
        if freeze_at >= 1:
            self.stem.freeze()
        for stage in self.stages[: max(freeze_at - 1, 0)]:
            for block in stage.children():
                block.freeze()
        return self

    def __prepare_scriptable__(self):
        """Give TorchScript the stages as a ModuleList, the only kind of list it iterates."""
        scriptable = copy.deepcopy(self)
        stages = nn.ModuleList(scriptable.stages)
        for name in self.stage_names:
            delattr(scriptable, name)
        scriptable.stages = stages
        return scriptable

    @staticmethod
    def make_stage(block_class, num_blocks, *, in_channels, out_channels, **kwargs):
        """Build the blocks of one stage.

        Args:
            block_class: a CNNBlockBase subclass.
            num_blocks: how many.
            in_channels: width before the first block.
            out_channels: width after every block.
            **kwargs: for the block constructor; ``name_per_block`` is a list with one value of
                ``name`` for each block.
        """
        suffix = "_per_block"
        shared = {k: v for k, v in kwargs.items() if not k.endswith(suffix)}
        varying = {k[: -len(suffix)]: v for k, v in kwargs.items() if k.endswith(suffix)}
        for key, values in varying.items():
            assert len(values) == num_blocks, (
                f"{key}{suffix} has {len(values)} values for {num_blocks} blocks"
            )
            assert key not in shared, f"make_stage got both {key} and {key}{suffix}"
        widths = [in_channels] + [out_channels] * num_blocks
        return [
            block_class(
                in_channels=widths[i],
                out_channels=out_channels,
                **shared,
                **{key: values[i] for key, values in varying.items()},
            )
            for i in range(num_blocks)
        ]

    @staticmethod
    def make_default_stages(depth, block_class=None, **kwargs):
        """Build the four stages of a standard ResNet.

        Args:
            depth: 18, 34, 50, 101 or 152.
            block_class: BasicBlock below depth 50 and BottleneckBlock from there by default.
            **kwargs: for :meth:`make_stage`, without strides and channels.
        """
        bottleneck = depth >= 50
        if block_class is None:
            block_class = BottleneckBlock if bottleneck else BasicBlock
        in_channels, stages = 64, []
        for i, num_blocks in enumerate(_BLOCKS_BY_DEPTH[depth]):
            out_channels = (256 if bottleneck else 64) * 2**i
            if bottleneck:
                kwargs["bottleneck_channels"] = out_channels // 4
            strides = [1 if i == 0 else 2] + [1] * (num_blocks - 1)
            stages.append(
                ResNet.make_stage(
                    block_class,
                    num_blocks,
                    in_channels=in_channels,
                    out_channels=out_channels,
                    stride_per_block=strides,
                    **kwargs,
                )
            )
            in_channels = out_channels
        return stages


def make_stage(*args, **kwargs):
    """Older name of :meth:`ResNet.make_stage`."""
    return ResNet.make_stage(*args, **kwargs)


@BACKBONE_REGISTRY.register()
def build_resnet_backbone(cfg, input_shape):
    """Build a :class:`ResNet` from ``cfg.MODEL.RESNETS`` and ``cfg.MODEL.BACKBONE.FREEZE_AT``."""
    options = cfg.MODEL.RESNETS
    stem = BasicStem(input_shape.channels, options.STEM_OUT_CHANNELS, options.NORM)
    dilation = options.RES5_DILATION
    assert dilation in (1, 2), f"MODEL.RESNETS.RES5_DILATION must be 1 or 2, not {dilation}"
    if options.DEPTH in (18, 34):
        _check_shallow(options)
    stages = stages_from_config(options, _BLOCKS_BY_DEPTH, dilations=(1, 1, 1, dilation))
    return ResNet(
        stem,
        stages,
        out_features=options.OUT_FEATURES,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
    )


def stages_from_config(options, blocks_by_depth, dilations, multi_grid=None):
    """Build ResNet stages from a ``MODEL.RESNETS`` node.

    Args:
        options: the config node.
        blocks_by_depth: depth to number of blocks per stage.
        dilations: one for each stage to build; a dilated stage does not stride.
        multi_grid: factors on the dilation of the blocks of res5.
    """
    is_basic = options.DEPTH in (18, 34)
    in_channels = options.STEM_OUT_CHANNELS
    stages = []
    for i, dilation in enumerate(dilations):
        num_blocks = blocks_by_depth[options.DEPTH][i]
        out_channels = options.RES2_OUT_CHANNELS * 2**i
        first_stride = 1 if i == 0 or dilation > 1 else 2
        kwargs = {"norm": options.NORM}
        if not is_basic:
            kwargs["bottleneck_channels"] = options.NUM_GROUPS * options.WIDTH_PER_GROUP * 2**i
            kwargs["stride_in_1x1"] = options.STRIDE_IN_1X1
            kwargs["num_groups"] = options.NUM_GROUPS
            if multi_grid is not None and i == 3:
                kwargs["dilation_per_block"] = [dilation * factor for factor in multi_grid]
            else:
                kwargs["dilation"] = dilation
        stages.append(
            ResNet.make_stage(
                _block_class(options, i),
                num_blocks,
                in_channels=in_channels,
                out_channels=out_channels,
                stride_per_block=[first_stride] + [1] * (num_blocks - 1),
                **kwargs,
            )
        )
        in_channels = out_channels
    return stages


def _block_class(options, stage):
    if options.DEPTH in (18, 34):
        return BasicBlock
    if options.DEFORM_ON_PER_STAGE[stage]:
        raise missing("MODEL.RESNETS.DEFORM_ON_PER_STAGE")
    return BottleneckBlock


def _check_shallow(options):
    wanted = {"RES2_OUT_CHANNELS": 64, "RES5_DILATION": 1, "NUM_GROUPS": 1}
    for key, value in wanted.items():
        found = getattr(options, key)
        assert found == value, (
            f"MODEL.RESNETS.{key} must be {value} for ResNet-{options.DEPTH}, not {found}"
        )
    assert not any(options.DEFORM_ON_PER_STAGE), (
        f"MODEL.RESNETS.DEFORM_ON_PER_STAGE is not possible for ResNet-{options.DEPTH}"
    )


def _conv(in_channels, out_channels, kernel_size, norm, stride=1, dilation=1, groups=1):
    return Conv2d(
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=kernel_size // 2 * dilation,
        dilation=dilation,
        groups=groups,
        bias=False,
        norm=get_norm(norm, out_channels),
    )


def _projection(in_channels, out_channels, stride, norm):
    if in_channels == out_channels:
        return None
    return _conv(in_channels, out_channels, 1, norm, stride=stride)


def _fill_msra(*convs):
    for conv in convs:
        if conv is not None:
            weight_init.c2_msra_fill(conv)

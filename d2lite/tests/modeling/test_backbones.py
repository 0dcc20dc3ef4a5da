"""ResNet, FPN and Swin: names, shapes, freezing, and outputs that real Detectron2 gives."""

from __future__ import annotations

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    FPN,
    Backbone,
    ResNet,
    SwinTransformer,
    build_backbone,
    make_stage,
)
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock

CONV_KEYS = ["weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]


def fill(module):
    """Give every parameter and buffer values that depend on its position alone."""
    for i, (name, tensor) in enumerate(sorted(module.state_dict().items())):
        if tensor.is_floating_point():
            wave = torch.sin(torch.arange(tensor.numel()) * 0.7 + i).view(tensor.shape)
            if name.endswith("running_var"):
                tensor.copy_(1 + 0.5 * wave)
            elif tensor.dim() > 1:
                tensor.copy_(wave * (2.0 / tensor[0].numel()) ** 0.5)
            else:
                tensor.copy_(0.5 + 0.5 * wave)
    return module.eval()


def image(height, width):
    values = torch.arange(3 * height * width) * 0.37
    return torch.sin(values).view(1, 3, height, width)


def small_resnet(out_features=("res2", "res3"), norm="FrozenBN", **kwargs):
    stages = [
        make_stage(
            BottleneckBlock,
            2,
            in_channels=8 * 2**i,
            out_channels=16 * 2**i,
            bottleneck_channels=4,
            stride_per_block=[1 + min(i, 1), 1],
            norm=norm,
        )
        for i in range(2)
    ]
    stem = BasicStem(out_channels=8, norm=norm)
    return ResNet(stem, stages, out_features=list(out_features), **kwargs)


def summary(tensor):
    return [tensor.mean().item(), tensor.std().item(), tensor.flatten()[tensor.numel() // 3].item()]


def test_block_names():
    bottleneck = BottleneckBlock(4, 8, bottleneck_channels=2, norm="FrozenBN")
    names = {k.split(".")[0] for k in bottleneck.state_dict()}
    assert names == {"shortcut", "conv1", "conv2", "conv3"}
    assert [k for k in bottleneck.state_dict() if k.startswith("conv2")] == [
        f"conv2.{k}" for k in CONV_KEYS
    ]
    basic = BasicBlock(4, 4, norm="FrozenBN")
    assert {k.split(".")[0] for k in basic.state_dict()} == {"conv1", "conv2"}
    assert basic.shortcut is None


@pytest.mark.parametrize(
    ("in_1x1", "strides"), [(True, (2, 1)), (False, (1, 2))], ids=["1x1", "3x3"]
)
def test_stride_sits_in_one_convolution(in_1x1, strides):
    block = BottleneckBlock(4, 8, bottleneck_channels=4, stride=2, stride_in_1x1=in_1x1)
    assert (block.conv1.stride[0], block.conv2.stride[0]) == strides
    assert block(torch.zeros(1, 4, 8, 8)).shape == (1, 8, 4, 4)


def test_dilated_block_keeps_the_size():
    block = BottleneckBlock(4, 4, bottleneck_channels=4, num_groups=2, dilation=3)
    assert block.conv2.dilation == (3, 3)
    assert block.conv2.padding == (3, 3)
    assert block.conv2.weight.shape == (4, 2, 3, 3)


def test_resnet_output_is_upstreams():
    with torch.no_grad():
        features = fill(small_resnet())(image(40, 56))
    assert {k: tuple(v.shape) for k, v in features.items()} == {
        "res2": (1, 16, 10, 14),
        "res3": (1, 32, 5, 7),
    }
    assert summary(features["res2"]) == pytest.approx(RESNET["res2"], rel=1e-4)
    assert summary(features["res3"]) == pytest.approx(RESNET["res3"], rel=1e-4)


def test_resnet_shapes_and_strides():
    net = small_resnet(("stem", "res3"))
    assert net.output_shape() == {
        "stem": ShapeSpec(channels=8, stride=4),
        "res3": ShapeSpec(channels=32, stride=8),
    }
    assert net.size_divisibility == 0
    assert net.padding_constraints == {}


def test_stages_behind_the_last_feature_are_dropped():
    assert not hasattr(small_resnet(("res2",)), "res3")


def test_classifier_is_the_default_output():
    stages = ResNet.make_default_stages(18)
    net = ResNet(BasicStem(), stages, num_classes=5).eval()
    with torch.no_grad():
        outputs = net(torch.zeros(2, 3, 32, 32))
    assert list(outputs) == ["linear"]
    assert outputs["linear"].shape == (2, 5)
    assert [len(s) for s in stages] == [2, 2, 2, 2]


@pytest.mark.parametrize(("freeze_at", "frozen"), [(0, []), (1, ["stem"]), (2, ["stem", "res2"])])
def test_freeze(freeze_at, frozen):
    net = small_resnet(norm="BN", freeze_at=freeze_at)
    for name in ("stem", "res2", "res3"):
        part = getattr(net, name)
        is_frozen = name in frozen
        assert all(p.requires_grad != is_frozen for p in part.parameters())
        has_frozen_norm = any(isinstance(m, FrozenBatchNorm2d) for m in part.modules())
        assert has_frozen_norm == is_frozen


def test_wrong_resnet_arguments_are_refused():
    with pytest.raises(AssertionError):
        small_resnet(("res9",))
    with pytest.raises(AssertionError):
        make_stage(BasicBlock, 2, in_channels=4, out_channels=4, stride_per_block=[1])
    with pytest.raises(AssertionError):
        make_stage(BasicBlock, 1, in_channels=4, out_channels=4, stride=1, stride_per_block=[1])


def cpu_cfg(**resnet):
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    for key, value in resnet.items():
        setattr(cfg.MODEL.RESNETS, key, value)
    return cfg


def test_resnet_from_config():
    cfg = cpu_cfg(DEPTH=18, RES2_OUT_CHANNELS=64, OUT_FEATURES=["res2", "res5"], NORM="BN")
    net = build_backbone(cfg)
    assert {k: (v.channels, v.stride) for k, v in net.output_shape().items()} == {
        "res2": (64, 4),
        "res5": (512, 32),
    }
    # FREEZE_AT is 2 by default.
    assert not any(p.requires_grad for p in net.res2.parameters())
    assert all(p.requires_grad for p in net.res3.parameters())
    assert "res5.0.shortcut.norm.running_var" in net.state_dict()


def test_dilated_resnet_from_config():
    net = build_backbone(cpu_cfg(RES5_DILATION=2, OUT_FEATURES=["res5"]))
    assert net.output_shape()["res5"] == ShapeSpec(channels=2048, stride=16)
    assert net.res5[0].conv2.dilation == (2, 2)


@pytest.mark.parametrize("wrong", [{"RES5_DILATION": 3}, {"DEPTH": 18}], ids=["dilation", "width"])
def test_wrong_resnet_config_is_refused(wrong):
    with pytest.raises(AssertionError):
        build_backbone(cpu_cfg(**wrong))


def test_unknown_backbone_is_refused():
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "no_such_backbone"
    with pytest.raises(KeyError, match="no_such_backbone"):
        build_backbone(cfg)


def test_backbone_registry_takes_functions_and_checks_their_result():
    @BACKBONE_REGISTRY.register()
    def build_nothing_for_a_test(cfg, input_shape):
        return torch.nn.Conv2d(input_shape.channels, 1, 1)

    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_nothing_for_a_test"
    with pytest.raises(AssertionError):
        build_backbone(cfg)


def test_backbone_defaults():
    class Constant(Backbone):
        def __init__(self):
            super().__init__()
            self._out_features = ["a"]
            self._out_feature_channels = {"a": 3}
            self._out_feature_strides = {"a": 2}

        def forward(self, x):
            return {"a": x}

    assert Constant().output_shape() == {"a": ShapeSpec(channels=3, stride=2)}
    with pytest.raises(TypeError):
        Backbone()


def small_fpn(**kwargs):
    return FPN(small_resnet(), ["res2", "res3"], 8, **kwargs)


def small_swin(**kwargs):
    options = {"embed_dim": 8, "depths": (1, 2), "num_heads": (1, 2), "window_size": 3}
    return SwinTransformer(**{**options, "out_indices": (0, 1), **kwargs})


@pytest.mark.parametrize("ape", [False, True])
def test_swin_output_is_upstreams(ape):
    net = fill(small_swin(ape=ape, pretrain_img_size=16))
    with torch.no_grad():
        features = net(image(30, 45))  # neither a multiple of patches nor of windows
    assert {k: tuple(v.shape) for k, v in features.items()} == {
        "p0": (1, 8, 8, 12),
        "p1": (1, 16, 4, 6),
    }
    for name, expected in SWIN[ape].items():
        assert summary(features[name]) == pytest.approx(expected, rel=2e-4), name


def test_swin_names():
    block = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    expected = {f"patch_embed.{m}.{k}" for m in ("proj", "norm") for k in ("weight", "bias")}
    for layer, i in ((0, 0), (1, 0), (1, 1)):
        prefix = f"layers.{layer}.blocks.{i}"
        expected |= {f"{prefix}.{m}.{k}" for m in block for k in ("weight", "bias")}
        expected |= {f"{prefix}.attn.relative_position_{k}" for k in ("bias_table", "index")}
    down = "layers.0.downsample"
    expected |= {f"{down}.reduction.weight", f"{down}.norm.weight", f"{down}.norm.bias"}
    expected |= {f"norm{i}.{k}" for i in (0, 1) for k in ("weight", "bias")}
    assert set(small_swin().state_dict()) == expected


def test_swin_batch_of_two_is_two_batches_of_one():
    net = fill(small_swin())
    first, second = image(24, 24), image(24, 24).flip(2)
    with torch.no_grad():
        both = net(torch.cat([first, second]))
        alone = [net(first), net(second)]
    for name, features in both.items():
        torch.testing.assert_close(features, torch.cat([a[name] for a in alone]))


def test_swin_freezing():
    net = small_swin(frozen_stages=2)
    trainable = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert trainable == {"layers", "norm0", "norm1"}
    assert not any(p.requires_grad for p in net.layers[0].parameters())
    assert all(p.requires_grad for p in net.layers[1].parameters())


def test_swin_drop_path_is_off_in_evaluation_and_random_in_training():
    torch.manual_seed(0)
    net = fill(small_swin(drop_path_rate=0.9))
    x = image(24, 24).repeat(8, 1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(net(x)["p1"], net(x)["p1"])
        net.train()
        dropped = net(x)["p1"]
    assert not all(torch.equal(dropped[0], d) for d in dropped[1:])


def test_swin_shapes():
    net = small_swin()
    assert net.output_shape() == {
        "p0": ShapeSpec(channels=8, stride=4),
        "p1": ShapeSpec(channels=16, stride=8),
    }


# Means, deviations and one value of real Detectron2's features for `fill`ed networks.
RESNET = {"res2": [0.968611, 0.852124, 0.869254], "res3": [1.37607, 0.871753, 2.28323]}
FPN_AVG = {
    "p2": [0.611387, 0.49575, 0.00274443],
    "p3": [0.498675, 0.610294, 0.867028],
    "p4": [1.39706, 4.72157, -2.57971],
    "p5": [9.91699, 2.75463, 6.76183],
}
SWIN = {
    False: {"p0": [0.5208, 0.67378, 0.53197], "p1": [0.39764, 0.542133, 1.66281]},
    True: {"p0": [0.315334, 0.667455, 0.359514], "p1": [0.613655, 0.504278, 1.68575]},
}

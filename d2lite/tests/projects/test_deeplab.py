"""DeepLab's config, backbone, schedule and loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from detectron2.projects.deeplab import add_deeplab_config, build_lr_scheduler
from detectron2.projects.deeplab.loss import DeepLabCE
from detectron2.projects.deeplab.lr_scheduler import WarmupPolyLR


def deeplab_cfg(**resnet):
    cfg = get_cfg()
    add_deeplab_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.BACKBONE.NAME = "build_resnet_deeplab_backbone"
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3"]
    for key, value in resnet.items():
        setattr(cfg.MODEL.RESNETS, key, value)
    return cfg


def test_stem_has_three_convolutions():
    net = build_backbone(deeplab_cfg(STEM_OUT_CHANNELS=128, NORM="BN"))
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if k.startswith("stem")}
    assert shapes["stem.conv1.weight"] == (64, 3, 3, 3)
    assert shapes["stem.conv2.weight"] == (64, 64, 3, 3)
    assert shapes["stem.conv3.weight"] == (128, 64, 3, 3)
    assert shapes["stem.conv3.norm.running_mean"] == (128,)
    assert not hasattr(net, "res4")
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 33, 64))["res2"].shape == (1, 256, 9, 16)


def test_basic_stem_is_resnets():
    net = build_backbone(deeplab_cfg(STEM_TYPE="basic"))
    assert net.stem.conv1.weight.shape == (64, 3, 7, 7)


def test_unknown_stem_is_refused():
    with pytest.raises(ValueError, match="strange"):
        build_backbone(deeplab_cfg(STEM_TYPE="strange"))


def test_multi_grid_dilates_the_blocks_of_res5():
    options = {"RES4_DILATION": 2, "RES5_DILATION": 4, "OUT_FEATURES": ["res5"]}
    net = build_backbone(deeplab_cfg(**options))
    assert net.output_shape()["res5"].stride == 8
    assert [block.conv2.dilation[0] for block in net.res5] == [4, 8, 16]
    assert {block.conv2.dilation[0] for block in net.res4} == {2}


def test_dilated_res4_needs_dilated_res5():
    with pytest.raises(AssertionError):
        build_backbone(deeplab_cfg(RES4_DILATION=2, RES5_DILATION=2))


def rates(scheduler, optimizer, steps):
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def sgd(rate=1.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def test_poly_decay_with_linear_warmup():
    optimizer = sgd(2.0)
    scheduler = WarmupPolyLR(optimizer, 10, warmup_factor=0.5, warmup_iters=4, power=2.0)
    warmup = [0.5, 0.625, 0.75, 0.875, 1, 1, 1, 1, 1, 1]
    expected = [2 * w * (1 - i / 10) ** 2 for i, w in enumerate(warmup)]
    assert rates(scheduler, optimizer, 10) == pytest.approx(expected)


def test_poly_decay_ends_constant():
    optimizer = sgd()
    scheduler = WarmupPolyLR(optimizer, 10, warmup_iters=0, power=1.0, constant_ending=0.25)
    expected = [max(1 - i / 10, 0.25) for i in range(10)]
    assert rates(scheduler, optimizer, 10) == pytest.approx(expected)


@pytest.mark.parametrize("constant_ending", [0.0, 0.25])
def test_poly_decay_has_no_rate_after_its_end(constant_ending):
    optimizer = sgd()
    scheduler = WarmupPolyLR(
        optimizer, 10, warmup_iters=2, power=0.9, constant_ending=constant_ending
    )
    assert rates(scheduler, optimizer, 10)[-1] == pytest.approx(max(0.1**0.9, constant_ending))
    assert optimizer.param_groups[0]["lr"] == constant_ending
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        rates(scheduler, optimizer, 1)


def test_scheduler_from_config():
    cfg = deeplab_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    cfg.SOLVER.MAX_ITER = 20
    cfg.SOLVER.WARMUP_ITERS = 0
    optimizer = sgd()
    scheduler = build_lr_scheduler(cfg, optimizer)
    assert isinstance(scheduler, WarmupPolyLR)
    assert rates(scheduler, optimizer, 3) == pytest.approx([(1 - i / 20) ** 0.9 for i in range(3)])
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    assert not isinstance(build_lr_scheduler(cfg, sgd()), WarmupPolyLR)


def test_hard_pixels_loss():
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    labels[0, 0] = 7
    losses = F.cross_entropy(logits, labels, ignore_index=7, reduction="none").flatten()
    hardest = losses.sort(descending=True).values[: int(0.3 * 40)].mean()
    criterion = DeepLabCE(ignore_label=7, top_k_percent_pixels=0.3)
    torch.testing.assert_close(criterion(logits, labels), hardest)
    weights = torch.rand(2, 4, 5)
    all_pixels = DeepLabCE(ignore_label=7)(logits, labels, weights)
    torch.testing.assert_close(all_pixels, (losses * weights.flatten()).mean())

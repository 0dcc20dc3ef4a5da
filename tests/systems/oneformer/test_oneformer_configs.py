"""Every published OneFormer configuration builds the published model."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from detectron2.config import get_cfg
from freeseg import add_freeseg_config, build_model
from freeseg.systems.oneformer.system import TRAINING_ONLY

CONFIGS = Path(__file__).resolve().parents[3] / "configs/oneformer"
# What the original code builds from its own configuration of the same name: the number of its
# parameters, with and without what only training needs, and a digest of its state dict's layout.
PUBLISHED = json.loads((Path(__file__).parent / "oneformer_published.json").read_text())
# Millions of parameters in the tables of the release's README.
README_SIZES = {
    "ade20k/swin/oneformer_swin_large_bs16_160k.yaml": 219,
    "ade20k/convnext/oneformer_convnext_large_bs16_160k.yaml": 220,
    "ade20k/convnext/oneformer_convnext_xlarge_bs16_160k.yaml": 372,
    "ade20k/dinat/oneformer_dinat_large_bs16_160k.yaml": 223,
    "cityscapes/swin/oneformer_swin_large_bs16_90k.yaml": 219,
    "coco/swin/oneformer_swin_large_bs16_100ep.yaml": 219,
}


class LayoutOfNatten(nn.Module):
    """The parameters of natten's module; it is only built, never run."""

    def __init__(self, dim, num_heads, kernel_size, dilation, rel_pos_bias, qkv_bias, **_):
        super().__init__()
        assert rel_pos_bias
        assert dilation >= 1
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.rpb = nn.Parameter(torch.empty(num_heads, 2 * kernel_size - 1, 2 * kernel_size - 1))
        self.proj = nn.Linear(dim, dim)


def load(name: str):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / name))
    return cfg


@pytest.fixture
def on_meta(monkeypatch):
    """Builds without memory or time for weights."""
    natten = types.ModuleType("natten")
    natten.NeighborhoodAttention2D = LayoutOfNatten
    monkeypatch.setitem(sys.modules, "natten", natten)
    # backbones read the rates of their stochastic depth off a tensor
    monkeypatch.setattr(torch, "linspace", functools.partial(torch.linspace, device="cpu"))
    with torch.device("meta"):
        yield


def build(name: str) -> nn.Module:
    cfg = load(name)
    cfg.MODEL.DEVICE = "meta"
    return build_model(cfg)


def test_every_published_configuration_is_here():
    files = {
        path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("oneformer_*_bs16_*.yaml")
    } | {path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*_pretrain_*.yaml")}
    assert files == set(PUBLISHED)
    assert len(files) == 28


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_model_has_the_layout_of_the_original(on_meta, name):
    model = build(name)
    state = {key: list(value.shape) for key, value in model.state_dict().items()}
    layout = "\n".join(f"{key} {shape}" for key, shape in sorted(state.items()))
    sizes = {key: value.numel() for key, value in model.named_parameters()}
    at_inference = {key: size for key, size in sizes.items() if not key.startswith(TRAINING_ONLY)}
    assert {
        "parameters": sum(sizes.values()),
        "inference": sum(at_inference.values()),
        "keys": len(state),
        "digest": hashlib.sha256(layout.encode()).hexdigest()[:16],
    } == PUBLISHED[name]


@pytest.mark.parametrize(("name", "millions"), README_SIZES.items())
def test_sizes_are_those_of_the_releases_tables(name, millions):
    assert round(PUBLISHED[name]["inference"] / 1e6) == millions


def test_without_training_there_is_no_text_mapper(on_meta):
    cfg = load("coco/oneformer_R50_bs16_50ep.yaml")
    cfg.MODEL.DEVICE, cfg.MODEL.IS_TRAIN = "meta", False
    model = build_model(cfg)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PUBLISHED["coco/oneformer_R50_bs16_50ep.yaml"]["inference"]
    assert not [key for key in model.state_dict() if key.startswith(TRAINING_ONLY)]


def test_dinat_without_natten_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "natten", None)
    with pytest.raises(ImportError, match="needs the package natten: install a natten from"):
        build("ade20k/dinat/oneformer_dinat_large_bs16_160k.yaml")


def test_dinat_refuses_a_natten_that_cannot_hold_published_weights(monkeypatch):
    natten = types.ModuleType("natten")
    monkeypatch.setitem(sys.modules, "natten", natten)
    natten.NeighborhoodAttention2D = nn.MaxPool2d
    with pytest.raises(ImportError, match="no relative position bias"):
        build("ade20k/dinat/oneformer_dinat_large_bs16_160k.yaml")


def test_published_values_of_one_configuration():
    cfg = load("ade20k/swin/oneformer_swin_large_bs16_160k_896x896.yaml")
    assert cfg.MODEL.ONE_FORMER.NUM_OBJECT_QUERIES == cfg.TEST.DETECTIONS_PER_IMAGE == 250
    assert cfg.INPUT.MIN_SIZE_TRAIN[0] == 448
    assert cfg.INPUT.MIN_SIZE_TRAIN[-1] == 1792
    assert cfg.TEST.AUG.MIN_SIZES == (448, 678, 896, 1120, 1344, 1568)
    assert cfg.MODEL.TEST.OBJECT_MASK_THRESHOLD == 0.5
    assert cfg.SOLVER.AMP.ENABLED

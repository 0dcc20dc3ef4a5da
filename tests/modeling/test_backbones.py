from __future__ import annotations

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from freeseg import add_freeseg_config
from freeseg.modeling import TimmBackbone


def config(**changes):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_list([item for pair in changes.items() for item in pair])
    return cfg


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("resnet18", ["res2", "res3", "res4", "res5"]),
        ("mobilenetv3_small_050", ["res1", "res3", "res5"]),
        ("convnext_atto", ["res3", "res4"]),
        ("regnetx_002", ["res2", "res5"]),
        ("test_vit", ["stage1", "stage2"]),
    ],
)
def test_timm_backbones_give_what_output_shape_promises(name, maps):
    size = 160 if name == "test_vit" else 64
    backbone = TimmBackbone(name=name, out_features=maps).eval()
    features = backbone(torch.zeros(1, 3, size, size))
    assert list(features) == maps
    for key, spec in backbone.output_shape().items():
        side = size // spec.stride
        assert features[key].shape == (1, spec.channels, side, side)


def test_timm_backbone_from_config():
    cfg = config()
    cfg.MODEL.BACKBONE.NAME = "TimmBackbone"
    cfg.MODEL.TIMM.OUT_FEATURES = ["res3", "res4"]
    backbone = build_backbone(cfg)
    assert {name: s.stride for name, s in backbone.output_shape().items()} == {
        "res3": 8,
        "res4": 16,
    }
    assert backbone.size_divisibility == 16


def test_unknown_timm_models_and_maps_are_refused():
    with pytest.raises(ValueError, match=r"no model named 'resnet_18'; close ones: .*resnet"):
        TimmBackbone(name="resnet_18", out_features=["res5"])
    with pytest.raises(ValueError, match=r"resnet18 has no map \['res9'\]; it has .*'res5'"):
        TimmBackbone(name="resnet18", out_features=["res9"])


def test_swin_has_published_names_and_feature_names():
    cfg = config()
    cfg.MODEL.BACKBONE.NAME = "D2SwinTransformer"
    cfg.MODEL.SWIN.EMBED_DIM = 12
    backbone = build_backbone(cfg).eval()
    shapes = backbone.output_shape()
    assert {n: (s.channels, s.stride) for n, s in shapes.items()} == {
        "res2": (12, 4),
        "res3": (24, 8),
        "res4": (48, 16),
        "res5": (96, 32),
    }
    features = backbone(torch.zeros(1, 3, 64, 96))
    assert {n: tuple(f.shape[1:]) for n, f in features.items()} == {
        n: (s.channels, 64 // s.stride, 96 // s.stride) for n, s in shapes.items()
    }
    keys = set(backbone.state_dict())
    assert {
        "patch_embed.proj.weight",
        "layers.0.blocks.0.attn.relative_position_bias_table",
        "layers.2.blocks.5.mlp.fc2.bias",
        "layers.0.downsample.reduction.weight",
        "norm3.weight",
    } <= keys
    # 12 blocks of 14, 3 mergings of 3, 4 output norms of 2, patch embedding of 4
    assert len(keys) == 12 * 14 + 3 * 3 + 4 * 2 + 4


def test_swin_returns_only_what_is_asked_for():
    cfg = config()
    cfg.MODEL.BACKBONE.NAME = "D2SwinTransformer"
    cfg.MODEL.SWIN.EMBED_DIM = 12
    cfg.MODEL.SWIN.OUT_FEATURES = ["res3", "res5"]
    assert list(build_backbone(cfg).output_shape()) == ["res3", "res5"]
    cfg.MODEL.SWIN.OUT_FEATURES = ["res6"]
    with pytest.raises(ValueError, match=r"knows \['res2', 'res3', 'res4', 'res5'\]"):
        build_backbone(cfg)

from __future__ import annotations

import re
import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from freeseg import add_freeseg_config
from freeseg.modeling import TimmBackbone
from freeseg.names import with_own_names


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
    backbone = build_backbone(with_own_names(cfg))
    assert {name: s.stride for name, s in backbone.output_shape().items()} == {
        "res3": 8,
        "res4": 16,
    }
    assert backbone.size_divisibility == 16


def test_frozen_norms_keep_statistics_and_factors():
    plain = TimmBackbone(name="test_efficientnet", out_features=["res3"])
    frozen = TimmBackbone(name="test_efficientnet", out_features=["res3"], norm="FrozenBN")
    frozen.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 32, 32)
    expected = plain.eval()(images)["res3"]
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    found = frozen.train()(images)["res3"]
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(value, before[key]) for key, value in frozen.state_dict().items())
    assert not [name for name, _ in frozen.named_parameters() if "bn" in name]


def test_nothing_up_to_a_map_is_trained():
    maps = ["res2", "res3"]
    backbone = TimmBackbone(name="test_efficientnet", out_features=maps, freeze_at="res2")
    found = backbone(torch.randn(2, 3, 64, 64))
    coarse, fine = found["res3"], found["res2"]
    assert not fine.requires_grad
    coarse.sum().backward()
    learning = {name for name, weight in backbone.named_parameters() if weight.grad is not None}
    assert learning
    frozen = {name for name, weight in backbone.named_parameters() if not weight.requires_grad}
    assert frozen
    assert not learning & frozen
    free = TimmBackbone(name="test_efficientnet", out_features=maps)
    free(torch.randn(2, 3, 64, 64))["res2"].sum().backward()
    read = {name for name, weight in free.named_parameters() if weight.grad is not None}
    assert frozen == read


def test_unknown_timm_models_and_maps_are_refused():
    with pytest.raises(ValueError, match="has no map \\['res9'\\]"):
        TimmBackbone(name="resnet18", out_features=["res2"], freeze_at="res9")
    with pytest.raises(ValueError, match="NORM is empty or FrozenBN, got 'GN'"):
        TimmBackbone(name="resnet18", out_features=["res2"], norm="GN")
    with pytest.raises(ValueError, match=r"no model named 'resnet_18'; close ones: .*resnet"):
        TimmBackbone(name="resnet_18", out_features=["res5"])
    with pytest.raises(ValueError, match=r"resnet18 has no map \['res9'\]; it has .*'res5'"):
        TimmBackbone(name="resnet18", out_features=["res9"])


def convnext(**changes):
    node = {"DEPTHS": [1, 1, 2, 1], "DIMS": [8, 16, 24, 32], **changes}
    cfg = config(**{f"MODEL.CONVNEXT.{key}": value for key, value in node.items()})
    cfg.MODEL.BACKBONE.NAME = "D2ConvNeXt"
    return build_backbone(with_own_names(cfg)).eval()


# The release's names and timm's, in the order of a rename.
CONVNEXT_NAMES = (
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d)\.", r"stages.\1.downsample."),
    (r"^stages\.(\d)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"dwconv", "conv_dw"),
    (r"pwconv(\d)", r"mlp.fc\1"),
)


@torch.no_grad()
def test_convnext_gives_timms_maps_under_the_releases_names():
    from timm.models.convnext import ConvNeXt  # after freeseg, which lets torchvision load

    ours = convnext()
    for parameter in ours.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    state, norms = {}, {}
    for key, value in ours.state_dict().items():
        if re.match(r"norm\d", key):
            norms[key] = value
            continue
        for pattern, replacement in CONVNEXT_NAMES:
            key = re.sub(pattern, replacement, key)
        state[key] = value
    theirs = ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=0).eval()
    missing = theirs.load_state_dict(state, strict=False)
    assert missing.unexpected_keys == []
    assert {key.split(".")[0] for key in missing.missing_keys} <= {"head"}

    x = torch.randn(2, 3, 64, 96)
    maps = ours(x)
    x = theirs.stem(x)
    for index, stage in enumerate(theirs.stages):
        x = stage(x)
        channels = ours.output_shape()[f"res{index + 2}"].channels
        weight, bias = norms[f"norm{index}.weight"], norms[f"norm{index}.bias"]
        normed = F.layer_norm(x.permute(0, 2, 3, 1), (channels,), weight, bias, 1e-6)
        torch.testing.assert_close(maps[f"res{index + 2}"], normed.permute(0, 3, 1, 2))


def test_convnext_gives_the_maps_that_are_asked_for():
    backbone = convnext(OUT_FEATURES=["res3", "res5"])
    features = backbone(torch.zeros(1, 3, 64, 64))
    assert {name: tuple(map_.shape) for name, map_ in features.items()} == {
        "res3": (1, 16, 8, 8),
        "res5": (1, 32, 2, 2),
    }
    with pytest.raises(ValueError, match=r"ConvNeXt has the maps .* got \['res6'\]"):
        convnext(OUT_FEATURES=["res6"])


class LookAtEverything(nn.Module):
    """Stands in for natten's module: attention to the whole map, so that it can be checked."""

    def __init__(self, *, dim, num_heads, kernel_size, dilation, rel_pos_bias, **_):
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim)
        self.scale = dilation

    def forward(self, x):
        q, k, v = self.qkv(x.flatten(1, 2)).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v * self.scale).view_as(x)


@torch.no_grad()
def test_dinat_is_natten_between_norms_and_convolutions(monkeypatch):
    natten = types.ModuleType("natten")
    natten.NeighborhoodAttention2D = LookAtEverything
    monkeypatch.setitem(sys.modules, "natten", natten)
    cfg = config(
        **{
            "MODEL.DiNAT.EMBED_DIM": 8,
            "MODEL.DiNAT.DEPTHS": [1, 2, 1, 1],
            "MODEL.DiNAT.DILATIONS": [[3], [1, 2], [1], [1]],
            "MODEL.DiNAT.NUM_HEADS": [1, 1, 1, 1],
        }
    )
    cfg.MODEL.BACKBONE.NAME = "D2DiNAT"
    backbone = build_backbone(with_own_names(cfg)).eval()
    images = torch.randn(2, 3, 64, 96)
    maps = backbone(images)
    shapes = {name: tuple(map_.shape[1:]) for name, map_ in maps.items()}
    assert shapes == {
        "res2": (8, 16, 24),
        "res3": (16, 8, 12),
        "res4": (32, 4, 6),
        "res5": (64, 2, 3),
    }
    assert [block.attn.scale for level in backbone.levels for block in level.blocks] == [
        3,
        1,
        2,
        1,
        1,
    ]

    embed, block = backbone.patch_embed, backbone.levels[0].blocks[0]
    x = embed.norm(embed.proj(images).permute(0, 2, 3, 1))
    x = x + block.attn(block.norm1(x))
    x = x + block.mlp["fc2"](F.gelu(block.mlp["fc1"](block.norm2(x))))
    torch.testing.assert_close(maps["res2"], backbone.norm0(x).permute(0, 3, 1, 2))

    cfg.MODEL.DiNAT.DILATIONS = [[1], [1], [1], [1]]
    with pytest.raises(ValueError, match=r"wanted \[1, 2, 1, 1\] dilations, one per block"):
        build_backbone(with_own_names(cfg))


def test_swin_has_published_names_and_feature_names():
    cfg = config()
    cfg.MODEL.BACKBONE.NAME = "D2SwinTransformer"
    cfg.MODEL.SWIN.EMBED_DIM = 12
    backbone = build_backbone(with_own_names(cfg)).eval()
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
    assert list(build_backbone(with_own_names(cfg)).output_shape()) == ["res3", "res5"]
    cfg.MODEL.SWIN.OUT_FEATURES = ["res6"]
    with pytest.raises(ValueError, match=r"knows \['res2', 'res3', 'res4', 'res5'\]"):
        build_backbone(with_own_names(cfg))

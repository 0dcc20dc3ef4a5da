"""The ViT backbone: tokens against timm's own, the published names and sizes."""

from __future__ import annotations

import itertools

import pytest
import torch

from freeseg.modeling.backbone.dpt import DPTBackbone, nearest_power_of_two
from freeseg.modeling.vit import bilinear_positions, create_vit, tapped_tokens

SIZES = {"embed_dim": 24, "depth": 5, "num_heads": 2}
TAPS, CHANNELS = (0, 1, 2, 4), (4, 6, 8, 10)


def backbone(name="vit_tiny_patch16_224", taps=TAPS, readout="project", **sizes):
    torch.manual_seed(0)
    vit = create_vit(name, **{**SIZES, **sizes})
    return DPTBackbone(model=vit, taps=taps, channels=CHANNELS, readout=readout).eval()


@pytest.mark.parametrize(
    ("name", "sizes", "side", "level_sides"),
    [
        ("vit_tiny_patch16_224", {}, 64, (16, 8, 4, 2)),
        ("vit_tiny_patch16_224", {"patch_size": 32}, 96, (24, 12, 6, 3)),
        ("vit_tiny_patch16_224", {"patch_size": 8}, 64, (16, 8, 4, 2)),
        ("vit_small_patch14_dinov2", {"img_size": 56}, 56, (16, 8, 4, 2)),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56}, 56, (16, 8, 4, 2)),
        ("eva02_tiny_patch14_224", {}, 56, (16, 8, 4, 2)),
    ],
)
def test_any_vit_gives_four_maps_each_half_as_large(name, sizes, side, level_sides):
    model = backbone(name, **sizes)
    maps = model(torch.randn(2, 3, side, side))
    assert [tuple(each.shape) for each in maps.values()] == [
        (2, width, level, level) for width, level in zip(CHANNELS, level_sides)
    ]
    assert {key: each.channels for key, each in model.output_shape().items()} == dict(
        zip(maps, CHANNELS)
    )


@pytest.mark.parametrize(("patch", "multiple"), [(8, 32), (14, 28), (16, 32), (32, 32)])
def test_images_are_padded_until_the_coarsest_map_is_half_the_next(patch, multiple):
    model = backbone(patch_size=patch, img_size=patch * 4)
    assert model.size_divisibility == multiple
    levels = list(model(torch.randn(1, 3, multiple, 3 * multiple)).values())
    for fine, coarse in itertools.pairwise(levels):
        assert fine.shape[-2:] == (2 * coarse.shape[-2], 2 * coarse.shape[-1])


@pytest.mark.parametrize("side", [64, 96])
def test_maps_are_made_of_the_tapped_tokens_with_bilinear_positions(side):
    model = backbone(img_size=64)
    image = torch.randn(1, 3, side, side)
    taps = tapped_tokens(model.model, image, TAPS, bilinear_positions)
    grid = (side // 16, side // 16)
    for number, (found, tap) in enumerate(zip(model(image).values(), taps), start=1):
        part = model.get_submodule(f"act_postprocess{number}")
        assert torch.equal(found, part(tap.tokens, tap.prefix, grid))


def test_names_of_weights_are_the_releases():
    names = {key for key in backbone().state_dict() if not key.startswith("model.")}
    linear = [f"act_postprocess{level}.0.project.0" for level in (1, 2, 3, 4)]
    convolutions = [f"act_postprocess{level}.3" for level in (1, 2, 3, 4)]
    resampling = ["act_postprocess1.4", "act_postprocess2.4", "act_postprocess4.4"]
    assert names == {
        f"{part}.{kind}"
        for part in (*linear, *convolutions, *resampling)
        for kind in ("weight", "bias")
    }


def test_weights_of_a_whole_vit_load_and_what_is_not_run_is_left_out():
    import timm  # after freeseg, which lets torchvision load

    model = backbone(taps=(0, 1, 2, 3))
    whole = timm.create_model("vit_tiny_patch16_224", num_classes=7, **SIZES)
    state = {f"model.{key}": value for key, value in whole.state_dict().items()}
    state.update({key: value for key, value in model.state_dict().items() if "act_" in key})
    model.load_state_dict(state)
    assert len(model.model.blocks) == 4
    torch.testing.assert_close(model.model.pos_embed, whole.pos_embed)
    with pytest.raises(RuntimeError, match=r"model\.typo"):
        model.load_state_dict({**state, "model.typo": torch.zeros(1)})


def test_every_parameter_has_a_gradient():
    model = backbone(taps=(0, 1, 2, 3)).train()
    sum(each.square().mean() for each in model(torch.randn(1, 3, 64, 64)).values()).backward()
    assert [name for name, each in model.named_parameters() if each.grad is None] == []


def test_the_class_token_may_be_added_or_ignored():
    image = torch.randn(1, 3, 64, 64)
    plain, added = backbone(readout="ignore"), backbone(readout="add")
    state = {key: value for key, value in plain.state_dict().items() if "project" not in key}
    added.load_state_dict(state)
    tokens, first = tapped_tokens(plain.model, image, TAPS, bilinear_positions)[0]
    wanted = plain.act_postprocess1(tokens + first[:, :1], first, (4, 4))
    torch.testing.assert_close(added(image)["res2"], wanted)
    assert not torch.allclose(plain(image)["res2"], wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"taps": (0, 1, 2)}, "4 taps in order"),
        ({"taps": (3, 2, 1, 0)}, "4 taps in order"),
        ({"taps": (0, 1, 2, 9)}, "has 5 blocks"),
        ({"readout": "mean"}, "readout must be one of"),
        ({"name": "vit_base_patch16_siglip_224"}, "no class token"),
        ({"name": "no_such_model"}, "no model named"),
        ({"name": "resnet18"}, "is no ViT"),
        ({"name": "beit_base_patch16_224"}, "images of any size"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        backbone(**changes)


@pytest.mark.parametrize(("number", "power"), [(8, 8), (14, 16), (16, 16), (20, 16), (32, 32)])
def test_nearest_power_of_two(number, power):
    assert nearest_power_of_two(number) == power

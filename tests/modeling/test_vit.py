"""Plain ViTs: taps against timm's, positions against formulas, SAM's encoder against two others."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from freeseg.modeling.vit import (
    DINO_OFFSET,
    SAM_SIZES,
    WindowedSizes,
    WindowedViT,
    add_positions,
    bicubic_positions,
    bilinear_positions,
    create_vit,
    cut_behind,
    sam_image_encoder,
    tapped_tokens,
)

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
SIZES = {"embed_dim": 24, "depth": 5, "num_heads": 2}
dino_positions = partial(bicubic_positions, offset=DINO_OFFSET)


def vit(name="vit_tiny_patch16_224", **sizes):
    torch.manual_seed(0)
    return create_vit(name, **{**SIZES, **sizes}).eval()


def golden(name):
    folder = SHARED / "golden" / name
    if not folder.is_dir():
        pytest.skip(f"no stored outputs of the original at {folder}")
    return (
        json.loads((folder / "config.json").read_text()),
        load_file(folder / "model.safetensors"),
        load_file(folder / "io.safetensors"),
    )


# taps


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
@pytest.mark.parametrize("resize", [bilinear_positions, dino_positions, None])
def test_taps_at_the_trained_size_are_timms(name, resize):
    patch = 14 if "patch14" in name else 16
    model = vit(name, img_size=4 * patch)
    image = torch.randn(2, 3, 4 * patch, 4 * patch)
    wanted = model.forward_intermediates(
        image,
        indices=[0, 3],
        return_prefix_tokens=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    found = tapped_tokens(model, image, [0, 3], resize)
    assert len(found) == 2
    for tap, (tokens, prefix) in zip(found, wanted):
        torch.testing.assert_close(tap.tokens, tokens)
        torch.testing.assert_close(tap.prefix, prefix)
    assert found[0].prefix.shape == (2, model.num_prefix_tokens, 24)


def test_taps_are_the_same_without_what_stands_behind_them():
    model, image = vit(img_size=64), torch.randn(1, 3, 48, 80)
    wanted = tapped_tokens(model, image, [1, 2], bilinear_positions)
    cut = cut_behind(model, 2)
    assert len(cut.blocks) == 3
    assert not any(name.startswith("norm.") for name, _ in cut.named_parameters())
    for found, tap in zip(tapped_tokens(cut, image, [1, 2], bilinear_positions), wanted):
        assert torch.equal(found.tokens, tap.tokens)


def test_vits_of_other_positions_are_tapped_in_timms_way_alone():
    model, image = vit("eva02_tiny_patch14_224"), torch.randn(1, 3, 56, 28)
    (tap,) = tapped_tokens(model, image, [4])
    assert tap.tokens.shape == (1, 8, 24)
    with pytest.raises(ValueError, match="positions of a Eva can be resized in timm's way only"):
        tapped_tokens(model, image, [4], bilinear_positions)


def test_a_vit_without_first_tokens_has_none():
    model = vit("vit_base_patch16_siglip_224", img_size=32)
    for resize in (None, bilinear_positions):
        (tap,) = tapped_tokens(model, torch.randn(1, 3, 48, 32), [4], resize)
        assert tap.prefix.shape == (1, 0, 24)
        assert tap.tokens.shape == (1, 6, 24)


# positions


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_positions_are_resized_and_leave_the_first_tokens_alone(name):
    side = 14 if "patch14" in name else 16
    model = vit(name, img_size=4 * side)
    with torch.no_grad():
        for token in (model.cls_token, model.reg_token):
            if token is not None:
                token.normal_()
    tokens = add_positions(model, torch.zeros(1, 6, 3, 24), (6, 3), bilinear_positions)
    num_first = 0 if model.no_embed_class else model.num_prefix_tokens
    table = model.pos_embed[0, num_first:].reshape(4, 4, 24).permute(2, 0, 1)[None]
    wanted = F.interpolate(table, (6, 3), mode="bilinear", align_corners=False)[0].flatten(1).T
    torch.testing.assert_close(tokens[0, model.num_prefix_tokens :], wanted)
    first = model.cls_token[0, 0] + (model.pos_embed[0, 0] if num_first else 0)
    torch.testing.assert_close(tokens[0, 0], first)


def cubic_weight(distance: float) -> float:
    """Keys' cubic convolution with a = -0.75."""
    d = abs(distance)
    if d < 1:
        return 1.25 * d**3 - 2.25 * d**2 + 1
    return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def cubic_matrix(old: int, new: int, offset: float) -> torch.Tensor:
    """[new, old]: what each old place counts at a new one, edges repeated."""
    matrix = torch.zeros(new, old)
    for row in range(new):
        place = (row + 0.5) * old / (new + offset) - 0.5
        for column in range(int(place // 1) - 1, int(place // 1) + 3):
            matrix[row, min(max(column, 0), old - 1)] += cubic_weight(place - column)
    return matrix


@pytest.mark.parametrize("offset", [0.0, DINO_OFFSET])
@pytest.mark.parametrize("grid", [(9, 6), (3, 7), (37, 5)])
def test_bicubic_positions_follow_the_formula(grid, offset):
    torch.manual_seed(0)
    table = torch.randn(1, 3, 5, 8)
    rows, columns = cubic_matrix(5, grid[0], offset), cubic_matrix(8, grid[1], offset)
    wanted = torch.einsum("io,jp,bcop->bcij", rows, columns, table)
    torch.testing.assert_close(bicubic_positions(table, grid, offset), wanted, atol=1e-5, rtol=0)


def test_positions_in_half_precision_are_resized_in_full():
    table = torch.randn(1, 3, 5, 5).half()
    found = bicubic_positions(table, (8, 7), DINO_OFFSET)
    assert torch.equal(found, bicubic_positions(table.float(), (8, 7), DINO_OFFSET).half())


def test_an_offset_that_makes_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"offset of 1\.5 makes \(9, 9\) of \(8, 8\)"):
        bicubic_positions(torch.zeros(1, 1, 4, 4), (8, 8), 1.5)


def test_bicubic_positions_are_hugging_faces():
    transformers = pytest.importorskip("transformers", "5.0")
    config = transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=70, patch_size=14
    )
    theirs = transformers.Dinov2Model(config).embeddings
    table = theirs.position_embeddings.detach().normal_()
    wanted = theirs.interpolate_pos_encoding(torch.zeros(1, 1 + 54, 24), 126, 84)
    grid = table[:, 1:].mT.unflatten(2, (5, 5))
    found = bicubic_positions(grid, (9, 6)).flatten(2).mT
    torch.testing.assert_close(found, wanted[:, 1:], atol=1e-6, rtol=0)


@pytest.mark.golden
@pytest.mark.parametrize("picture", ["native", "tall"])
@torch.no_grad()
def test_dinov2s_blocks_are_the_originals(picture):
    config, state, stored = golden("sine_tiny")
    sizes = {key: config["dinov2"][key] for key in ("img_size", "embed_dim", "depth", "num_heads")}
    model = create_vit("vit_small_patch14_dinov2", **sizes).eval()
    start = "image_encoder.encoder."
    state = {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}
    del state["mask_token"]
    model.load_state_dict(state)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    image = ((stored[f"encoder.{picture}.image"] / 255 - mean) / deviation)[None]
    taps = tapped_tokens(model, image, range(sizes["depth"]), dino_positions)
    found = torch.stack([torch.cat([tap.prefix, tap.tokens], dim=1)[0] for tap in taps])
    torch.testing.assert_close(found, stored[f"encoder.{picture}.blocks"], atol=2e-5, rtol=0)


# SAM's encoder

TINY = WindowedSizes(24, 3, 2, (1,), window=2, mlp_ratio=2.0, out_channels=12)
HUGGING_FACE = (
    (r"\.patch_embed\.projection", ".patch_embed.proj"),
    (r"\.layers\.", ".blocks."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"neck\.conv1", "neck.0"),
    (r"neck\.norm1", "neck.1"),
    (r"neck\.conv2", "neck.2"),
    (r"neck\.norm2", "neck.3"),
    (r"^vision_encoder\.", ""),
)


def hugging_faces(sizes, image_size):
    """Hugging Face's encoder with telling weights, and these under the release's names."""
    transformers = pytest.importorskip("transformers", "5.0")
    torch.manual_seed(0)
    config = transformers.SamVisionConfig(
        hidden_size=sizes.width, num_hidden_layers=sizes.depth, image_size=image_size,
        num_attention_heads=sizes.num_heads, global_attn_indexes=list(sizes.global_blocks),
        window_size=sizes.window, mlp_dim=int(sizes.width * sizes.mlp_ratio),
        output_channels=sizes.out_channels, qkv_bias=sizes.qkv_bias, layer_norm_eps=1e-6,
    )  # fmt: skip
    model = transformers.SamVisionModel(config).eval()
    state = {}
    for key, value in model.state_dict().items():
        value.copy_(torch.randn_like(value) * 0.3 + ("norm" in key and "weight" in key))
        for pattern, replacement in HUGGING_FACE:
            key = re.sub(pattern, replacement, key)
        state[key] = value.clone()
    return model, state


@pytest.mark.parametrize("side", [64, 80, 112], ids=["divided", "not divided", "long table"])
@pytest.mark.parametrize("qkv_bias", [True, False])
@torch.no_grad()
def test_sams_encoder_is_hugging_faces(side, qkv_bias):
    sizes = replace(TINY, window=3 if side == 112 else 2, qkv_bias=qkv_bias)
    theirs, state = hugging_faces(sizes, side)
    ours = WindowedViT(sizes, side).eval()
    ours.load_state_dict(state)
    images = torch.randn(2, 3, side, side)
    wanted = theirs(images).last_hidden_state
    assert wanted.std() > 0.1
    torch.testing.assert_close(ours(images), wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_other_sizes_have_resized_tables():
    """The release's way for relative positions, timm's for absolute ones."""
    torch.manual_seed(0)
    small, large = WindowedViT(TINY, 64).eval(), WindowedViT(TINY, 96).eval()
    state = {key: torch.randn_like(value) * 0.3 for key, value in small.state_dict().items()}
    small.load_state_dict(state)
    table = state["pos_embed"].permute(0, 3, 1, 2)
    table = F.interpolate(table, (6, 6), mode="bicubic", antialias=True)
    state["pos_embed"] = table.permute(0, 2, 3, 1)
    for axis in ("h", "w"):
        key = f"blocks.1.attn.rel_pos_{axis}"  # the block without windows: 7 distances become 11
        state[key] = F.interpolate(state[key].T[None], 11, mode="linear")[0].T
    large.load_state_dict(state)
    images = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(small(images), large(images), atol=1e-5, rtol=1e-5)
    assert small(torch.randn(1, 3, 32, 80)).shape == (1, 12, 2, 5)


@pytest.mark.golden
@torch.no_grad()
def test_sams_encoder_is_the_originals():
    config, state, stored = golden("sam_tiny")
    encoder = config["image_encoder"]
    side = encoder["img_size"]
    sizes = WindowedSizes(
        width=encoder["embed_dim"],
        depth=encoder["depth"],
        num_heads=encoder["num_heads"],
        global_blocks=tuple(encoder["global_attn_indexes"]),
        window=encoder["window_size"],
        mlp_ratio=encoder["mlp_ratio"],
        out_channels=encoder["out_chans"],
    )
    model = WindowedViT(sizes, side).eval()
    start = "image_encoder."
    model.load_state_dict(
        {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}
    )
    mean, deviation = (
        torch.tensor(config[key])[:, None, None] for key in ("pixel_mean", "pixel_std")
    )
    images = (stored["encoder.pixels"].float() - mean) / deviation
    images = F.pad(images, (0, side - images.shape[-1], 0, side - images.shape[-2]))
    torch.testing.assert_close(model(images), stored["encoder.embedding"], atol=2e-5, rtol=0)
    blocks = model.forward_intermediates(images[:1], intermediates_only=True)
    assert len(blocks) == encoder["depth"]
    for number, found in enumerate(blocks):
        wanted = stored[f"encoder.block.{number}"].permute(0, 3, 1, 2)
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "millions"), [("vit_b", 89.67), ("vit_l", 308.28), ("vit_h", 637.03)]
)
def test_published_sizes_give_the_published_number_of_weights(name, millions):
    """Counted on one block of each kind, for a whole ViT-H takes 2.5 GB."""
    sizes = SAM_SIZES[name]
    model = WindowedViT(replace(sizes, depth=2, global_blocks=(1,)))
    windowed, everywhere = (count(block) for block in model.blocks)
    num_global = len(sizes.global_blocks)
    blocks = (sizes.depth - num_global) * windowed + num_global * everywhere
    total = count(model) - windowed - everywhere + blocks
    assert round(total / 1e6, 2) == millions


def count(module):
    return sum(weight.numel() for weight in module.parameters())


def test_a_published_encoder_has_its_sizes():
    model = sam_image_encoder("vit_b", 32)
    assert len(model.blocks) == 12
    assert [block.window_size for block in model.blocks] == [14, 14, 0] * 4
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 256, 2, 2)


def test_names_that_are_no_sam_and_broken_patches_are_refused():
    with pytest.raises(ValueError, match="SAM's encoders vit_b, vit_l, vit_h, got 'vit_t'"):
        sam_image_encoder("vit_t")
    with pytest.raises(ValueError, match=r"multiples of 16, got \(100, 100\)"):
        WindowedViT(TINY, 100)
    with pytest.raises(ValueError, match=r"multiples of 16, got \(64, 72\)"):
        WindowedViT(TINY, 64)(torch.zeros(1, 3, 64, 72))


def test_every_weight_of_sams_encoder_has_a_gradient():
    model = WindowedViT(TINY, 64)
    model(torch.randn(1, 3, 64, 64)).square().sum().backward()
    assert [name for name, each in model.named_parameters() if each.grad is None] == []

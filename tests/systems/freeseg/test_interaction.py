"""Pixels read texts: against the formula written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from freeseg.structures import ImageFeatures
from freeseg.systems.freeseg.interaction import ContextInteraction

CHANNELS, TEXT, HIDDEN, HEADS = 6, 5, 8, 2


@pytest.fixture
def interaction():
    torch.manual_seed(0)
    module = ContextInteraction(
        channels=CHANNELS, text_channels=TEXT, hidden_channels=HIDDEN, num_heads=HEADS
    ).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return module


def pyramid(batch: int = 2) -> ImageFeatures:
    torch.manual_seed(1)
    levels = tuple(torch.randn(batch, CHANNELS, side, side + 1) for side in (2, 3, 4))
    return ImageFeatures(levels, torch.randn(batch, CHANNELS, 5, 6), (20, 24), ((20, 24),) * batch)


def read(module, pixels, text):
    """What every pixel [S, C] reads in texts [K, D], one head after the other."""
    attention = module.attn
    query, key, value = attention.q_proj(pixels), attention.k_proj(text), attention.v_proj(text)
    width = HIDDEN // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        weights = (query[:, part] @ key[:, part].T / width**0.5).softmax(-1)
        heads.append(weights @ value[:, part])
    return attention.out_proj(torch.cat(heads, dim=1))


@torch.no_grad()
def test_parity_texts_are_normalised_once_more_for_every_map(interaction):
    """Parity: map i reads texts after i + 1 layer norms, and adds to normalised pixels."""
    features, text = pyramid(), torch.randn(2, 4, TEXT)
    found = interaction(features, text)
    before = [*features.levels, features.mask_features]
    after = [*found.levels, found.mask_features]
    for image in range(2):
        words = text[image]
        for old, new in zip(before, after):
            words = interaction.layer_norm_k_1(words)
            pixels = interaction.layer_norm_q_1(old[image].flatten(1).T)
            expected = pixels + interaction.gamma * read(interaction, pixels, words)
            torch.testing.assert_close(new[image].flatten(1).T, expected)


@torch.no_grad()
def test_one_image_reads_several_texts(interaction):
    features, text = pyramid(batch=1), torch.randn(3, 4, TEXT)
    found = interaction(features, text)
    assert found.image_sizes == features.image_sizes * 3
    for row in range(3):
        alone = interaction(features, text[row, None])
        torch.testing.assert_close(found.mask_features[row, None], alone.mask_features)
        for several, one in zip(found.levels, alone.levels):
            torch.testing.assert_close(several[row, None], one)


@pytest.mark.parametrize("weights", [1, 40, 100])  # at a time: of a pixel, of a few, of many
@pytest.mark.parametrize("has_gradient", [False, True])
def test_tiles_of_pixels_make_no_difference(interaction, monkeypatch, weights, has_gradient):
    features, text = pyramid(), torch.randn(2, 4, TEXT)
    with torch.set_grad_enabled(has_gradient):
        whole = interaction(features, text).mask_features
        monkeypatch.setattr("freeseg.systems.freeseg.interaction.TILE", weights)
        found = interaction(features, text).mask_features
    torch.testing.assert_close(found, whole)
    assert found.requires_grad == has_gradient


@torch.no_grad()
def test_order_of_the_texts_does_not_matter(interaction):
    features, text = pyramid(), torch.randn(2, 4, TEXT)
    one, other = interaction(features, text), interaction(features, text[:, [2, 0, 3, 1]])
    torch.testing.assert_close(one.mask_features, other.mask_features)


def test_without_layer_scale_there_is_no_factor():
    module = ContextInteraction(
        channels=6, text_channels=5, hidden_channels=8, num_heads=2, layer_scale=False
    )
    assert module.gamma is None
    assert "gamma" not in module.state_dict()
    with torch.no_grad():
        for parameter in module.attn.parameters():
            parameter.zero_()
        found = module(pyramid(), torch.randn(2, 4, 5))
    pixels = pyramid().mask_features
    expected = F.layer_norm(pixels.movedim(1, -1), (6,)).movedim(-1, 1)
    torch.testing.assert_close(found.mask_features, expected)


def test_dropout_is_for_training_only(interaction):
    features, text = pyramid(), torch.randn(2, 4, TEXT)
    assert torch.equal(
        interaction(features, text).mask_features, interaction(features, text).mask_features
    )
    interaction.train()
    torch.manual_seed(0)
    first = interaction(features, text).mask_features
    assert not torch.equal(first, interaction(features, text).mask_features)


def test_widths_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match=r"hidden_channels \(7\) must be a multiple"):
        ContextInteraction(channels=6, text_channels=5, hidden_channels=7, num_heads=2)

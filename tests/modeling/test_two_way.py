"""The two-way transformer against attention written out, and its padding."""

from __future__ import annotations

import pytest
import torch

from freeseg.modeling.decoder.two_way import NarrowAttention, TwoWayTransformer


def attended(layer: NarrowAttention, query, key, value, visible):
    """One head and one query at a time."""
    found = torch.zeros(*query.shape[:2], layer.out_proj.in_features)
    width = layer.out_proj.in_features // layer.num_heads
    for row in range(len(query)):
        shown = visible[row].nonzero().flatten()
        keys, values = layer.k_proj(key[row, shown]), layer.v_proj(value[row, shown])
        for place, asked in enumerate(layer.q_proj(query[row])):
            for head in range(layer.num_heads):
                part = slice(head * width, (head + 1) * width)
                weights = (keys[:, part] @ asked[part] / width**0.5).softmax(0)
                found[row, place, part] = weights @ values[:, part]
    return layer.out_proj(found)


@torch.no_grad()
def test_attention_is_that_of_the_keys_that_are_there():
    torch.manual_seed(0)
    layer = NarrowAttention(channels=12, inner_channels=6, num_heads=3)
    query, key, value = torch.randn(2, 4, 12), torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    visible = torch.tensor([[True, True, False, True, False], [True] * 5])
    expected = attended(layer, query, key, value, visible)
    torch.testing.assert_close(layer(query, key, value, visible), expected)
    everything = attended(layer, query, key, value, torch.ones(2, 5, dtype=torch.bool))
    torch.testing.assert_close(layer(query, key, value), everything)


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    return TwoWayTransformer(channels=16, num_layers=2, num_heads=2, hidden_channels=24)


@torch.no_grad()
def test_rows_that_fill_up_change_nothing(transformer):
    tokens, pixels, places = torch.randn(2, 3, 16), torch.randn(2, 20, 16), torch.randn(1, 20, 16)
    there = torch.tensor([[True, True, True, False, False]] * 2)
    filled = torch.cat([tokens, torch.randn(2, 2, 16) * 9], dim=1)
    found, map_of = transformer(filled, pixels, places, there)
    alone, map_alone = transformer(tokens, pixels, places)
    torch.testing.assert_close(found[:, :3], alone)
    torch.testing.assert_close(map_of, map_alone)
    unmasked, _ = transformer(filled, pixels, places)
    assert (unmasked[:, :3] - alone).abs().max() > 0.01


@torch.no_grad()
def test_the_first_look_of_tokens_replaces_them(transformer):
    """Parity: it has no residual, so tokens that look alike come out alike."""
    block = transformer.layers[0]
    assert [layer.is_first for layer in transformer.layers] == [True, False]
    block.self_attn.out_proj.weight.zero_()
    block.self_attn.out_proj.bias.zero_()
    places = torch.zeros(1, 5, 16)
    tokens, nothing = torch.randn(1, 3, 16), torch.zeros(1, 3, 16)
    pixels = torch.randn(1, 5, 16)
    first, _ = block(tokens, pixels, nothing, places, None)
    second, _ = block(torch.randn(1, 3, 16), pixels, nothing, places, None)
    torch.testing.assert_close(first, second)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"\(8\) must be a multiple of num_heads \(3\)"):
        NarrowAttention(channels=16, inner_channels=8, num_heads=3)

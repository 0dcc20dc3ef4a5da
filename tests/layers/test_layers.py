from __future__ import annotations

import math

import pytest
import torch

from freeseg.layers import (
    CrossAttentionLayer,
    FeedForwardLayer,
    MSDeformAttn,
    MultiheadAttention,
    SelfAttentionLayer,
    pixel_centres,
    projected_sine_position,
    sine_position,
)


def test_multihead_attention_equals_torch_with_the_same_weights():
    torch.manual_seed(0)
    ours = MultiheadAttention(channels=12, num_heads=3)
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict(ours.state_dict())  # strict: the names are the same
    query, key = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    visible = torch.rand(2, 5, 7) > 0.4
    visible[..., 0] = True
    expected = theirs(query, key, key, attn_mask=~visible.repeat_interleave(3, dim=0))[0]
    torch.testing.assert_close(ours(query, key, key, visible), expected)


def test_attention_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match=r"channels \(10\) must be a multiple of num_heads \(3\)"):
        MultiheadAttention(channels=10, num_heads=3)


def test_hidden_tokens_change_nothing():
    torch.manual_seed(0)
    layer = CrossAttentionLayer(channels=8, num_heads=2)
    content, source = torch.randn(1, 3, 8), torch.randn(1, 6, 8)
    visible = torch.zeros(1, 3, 6, dtype=torch.bool)
    visible[..., :4] = True
    changed = source.clone()
    changed[:, 4:] += 100
    zeros = torch.zeros_like
    torch.testing.assert_close(
        layer(content, zeros(content), source, zeros(source), visible),
        layer(content, zeros(content), changed, zeros(source), visible),
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda pre: SelfAttentionLayer(channels=8, num_heads=2, pre_norm=pre),
        lambda pre: FeedForwardLayer(channels=8, hidden_channels=16, pre_norm=pre),
    ],
    ids=["self-attention", "feed-forward"],
)
def test_post_norm_output_is_normalised_and_pre_norm_keeps_the_residual(build):
    torch.manual_seed(0)
    content = torch.randn(2, 4, 8) * 5 + 3
    position = (torch.zeros_like(content),)
    for pre_norm in (False, True):
        layer = build(pre_norm)
        extra = position if isinstance(layer, SelfAttentionLayer) else ()
        mean = layer(content, *extra).mean(-1)
        assert (mean.abs().max() < 1e-5) == (not pre_norm)


def test_sine_position_follows_the_formula():
    encoded = sine_position(torch.zeros(1, 1, 3, 5), 8)
    assert encoded.shape == (8, 3, 5)
    row, column = 2, 3
    for channel in range(8):
        steps, size = (row + 1, 3) if channel < 4 else (column + 1, 5)
        angle = steps / (size + 1e-6) * 2 * math.pi / 10000 ** (2 * (channel % 4 // 2) / 4)
        expected = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
        assert encoded[channel, row, column].item() == pytest.approx(expected, abs=1e-6)


def test_sine_position_of_a_size_is_computed_once_and_may_be_trained_on():
    map_ = torch.zeros(1, 1, 4, 6)
    with torch.inference_mode():
        first = sine_position(map_, 8)
    assert sine_position(map_, 8) is first
    assert sine_position(map_, 12).shape == (12, 4, 6)
    weight = torch.ones(8, 1, 1, requires_grad=True)
    (weight * first).sum().backward()  # would fail on a tensor of inference mode
    torch.testing.assert_close(weight.grad.flatten(), first.sum((1, 2)))


def test_sine_position_refuses_odd_widths():
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        sine_position(torch.zeros(1, 1, 2, 2), 6)


def test_pixel_centres_are_x_then_y():
    centres = pixel_centres([(1, 2), (2, 1)], torch.zeros(1))
    expected = [[0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.5, 0.75]]
    assert centres.tolist() == expected


def test_deformable_attention_at_zero_offset_reads_the_pixel_itself():
    torch.manual_seed(0)
    layer = MSDeformAttn(channels=8, num_levels=1, num_heads=2, num_points=3)
    torch.nn.init.zeros_(layer.sampling_offsets.bias)
    source = torch.randn(2, 6, 8)
    shapes, starts = torch.tensor([[2, 3]]), torch.tensor([0])
    attended = layer(source, pixel_centres([(2, 3)], source), source, shapes, starts)
    torch.testing.assert_close(attended, layer.output_proj(layer.value_proj(source)))


def test_deformable_offsets_start_in_distinct_directions():
    layer = MSDeformAttn(channels=16, num_levels=2, num_heads=4, num_points=3)
    offsets = layer.sampling_offsets.bias.detach().view(4, 2, 3, 2)
    torch.testing.assert_close(offsets[:, 0, 0].abs().amax(-1), torch.ones(4))
    torch.testing.assert_close(offsets[:, :, 2], offsets[:, :, 0] * 3)
    assert len({tuple(row) for row in offsets[:, 0, 0].round(decimals=3).tolist()}) == 4


def test_projected_sine_position_is_the_product_with_the_encoding():
    map_, weight = torch.zeros(1, 1, 3, 5), torch.randn(7, 8)
    rows, columns = projected_sine_position(map_, weight)
    assert (rows.shape, columns.shape) == ((3, 1, 7), (1, 5, 7))
    expected = torch.einsum("dc,chw->hwd", weight, sine_position(map_, 8))
    torch.testing.assert_close(rows + columns, expected, rtol=0, atol=1e-5)

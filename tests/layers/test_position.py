"""Positions past padding, of coordinates and by random waves: as formulas and as another port."""

from __future__ import annotations

import math

import pytest
import torch

from freeseg.layers import FourierPosition, padded_sine_position, sine_position, sines


def padding_of(sizes: list[tuple[int, int]]) -> torch.Tensor:
    padding = torch.ones(len(sizes), 5, 7, dtype=torch.bool)
    for mask, (height, width) in zip(padding, sizes):
        mask[:height, :width] = False
    return padding


def test_without_padding_it_is_the_position_of_the_map():
    encoded = padded_sine_position(padding_of([(5, 7)]), 12)
    torch.testing.assert_close(encoded[0], sine_position(torch.zeros(1, 1, 5, 7), 12))


def test_a_padded_picture_is_encoded_as_if_alone():
    encoded = padded_sine_position(padding_of([(3, 6), (5, 2)]), 12, temperatures=(20.0, 50.0))
    for row, (height, width) in zip(encoded, [(3, 6), (5, 2)]):
        whole = torch.zeros(1, height, width, dtype=torch.bool)
        alone = padded_sine_position(whole, 12, temperatures=(20.0, 50.0))
        torch.testing.assert_close(row[:, :height, :width], alone[0])


@pytest.mark.parametrize("is_normalised", [True, False])
def test_it_follows_the_formula(is_normalised):
    encoded = padded_sine_position(
        padding_of([(4, 6)]), 8, temperatures=(20.0, 300.0), is_normalised=is_normalised
    )[0]
    for row, column in ((0, 0), (3, 5), (1, 4)):
        for channel in range(8):
            count, last, base = (row + 1, 4, 20) if channel < 4 else (column + 1, 6, 300)
            angle = count / (last + 1e-6) * 2 * math.pi if is_normalised else count
            angle /= base ** (2 * (channel % 4 // 2) / 4)
            expected = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
            assert encoded[channel, row, column].item() == pytest.approx(expected, abs=1e-5)


def test_it_equals_the_port_of_grounding_dino():
    pytest.importorskip("transformers", "5")
    from transformers import GroundingDinoConfig
    from transformers.models.grounding_dino import modeling_grounding_dino as port

    config = GroundingDinoConfig(d_model=12, positional_embedding_temperature=20)
    padding = padding_of([(3, 6), (5, 2)])
    expected = port.GroundingDinoSinePositionEmbedding(config)(torch.zeros(1), ~padding)
    ours = padded_sine_position(padding, 12, temperatures=(20.0, 20.0))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


def test_coordinates_are_waves_of_their_own_channels():
    box = torch.tensor([[0.1, 0.7, 0.25, 0.4]]) * 2 * math.pi
    encoded = sines(box, 6, temperature=100.0)
    assert encoded.shape == (1, 4, 6)
    for number, angle in enumerate(box[0].tolist()):
        for channel in range(6):
            wave = math.sin if channel % 2 == 0 else math.cos
            expected = wave(angle / 100 ** (2 * (channel // 2) / 6))
            assert encoded[0, number, channel].item() == pytest.approx(expected, abs=1e-6)


def test_widths_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        padded_sine_position(padding_of([(3, 6)]), 6)
    with pytest.raises(ValueError, match="must be even, got 5"):
        FourierPosition(channels=5)


def test_random_waves_are_those_of_a_loop_and_of_their_generator():
    layer = FourierPosition(channels=6, scale=2.0, generator=torch.Generator().manual_seed(3))
    again = FourierPosition(channels=6, scale=2.0, generator=torch.Generator().manual_seed(3))
    matrix = layer.state_dict()["positional_encoding_gaussian_matrix"]
    torch.testing.assert_close(matrix, next(again.buffers()), rtol=0, atol=0)
    unit = torch.randn(2, 3, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(matrix, 2 * unit)
    points = torch.tensor([[[0.2, 0.9], [0.5, 0.5]]])
    encoded = layer(points)
    assert encoded.shape == (1, 2, 6)
    for number, (x, y) in enumerate(points[0].tolist()):
        for wave in range(3):
            turns = (2 * x - 1) * matrix[0, wave] + (2 * y - 1) * matrix[1, wave]
            angle = 2 * math.pi * turns.item()
            assert encoded[0, number, wave].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert encoded[0, number, wave + 3].item() == pytest.approx(math.cos(angle), abs=1e-5)
    middle = encoded[0, 1]
    torch.testing.assert_close(middle, torch.tensor([0.0, 0, 0, 1, 1, 1]))


def test_random_waves_equal_the_port_of_sam():
    pytest.importorskip("transformers", "5")
    from transformers import SamVisionConfig
    from transformers.models.sam.modeling_sam import SamPositionalEmbedding

    theirs = SamPositionalEmbedding(SamVisionConfig(num_pos_feats=4))
    ours = FourierPosition(channels=8)
    ours.positional_encoding_gaussian_matrix.copy_(theirs.positional_embedding)
    points = torch.rand(3, 2)
    torch.testing.assert_close(ours(points), theirs(points))

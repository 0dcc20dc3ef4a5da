"""Deformable attention around points and in boxes, past padding: as a loop and as another port."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from freeseg.layers import MSDeformAttn, pixel_centres

SIZES = ((3, 5), (2, 4))
NUM_PIXELS = sum(height * width for height, width in SIZES)
SHAPES, STARTS = torch.tensor(SIZES), torch.tensor([0, 15])


@pytest.fixture
def layer() -> MSDeformAttn:
    torch.manual_seed(0)
    layer = MSDeformAttn(channels=8, num_levels=2, num_heads=2, num_points=3).double()
    for parameter in layer.parameters():  # nothing equal, nothing zero
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    return {
        "query": drawn(2, 4, 8) - 0.5,
        "source": drawn(2, NUM_PIXELS, 8) - 0.5,
        "points": drawn(2, 4, 2, 2),
        "boxes": drawn(2, 4, 2, 4),
        "padding": drawn(2, NUM_PIXELS) < 0.3,
    }


def by_hand(layer, query, references, source, padding=None) -> torch.Tensor:
    """Every sample read for itself."""
    value = layer.value_proj(source)
    if padding is not None:
        value = torch.where(padding[..., None], torch.zeros_like(value), value)
    offsets = layer.sampling_offsets(query).reshape(2, 4, 2, 2, 3, 2)
    weights = layer.attention_weights(query).reshape(2, 4, 2, 6).softmax(-1).reshape(2, 4, 2, 2, 3)
    attended = torch.zeros(2, 4, 8, dtype=query.dtype)
    for image in range(2):
        for number in range(4):
            for head in range(2):
                for level, (height, width) in enumerate(SIZES):
                    start = int(STARTS[level])
                    pixels = value[image, start : start + height * width, 4 * head : 4 * head + 4]
                    map_ = pixels.T.reshape(1, 4, height, width)
                    for point in range(3):
                        shift = offsets[image, number, head, level, point]
                        place = references[image, number, level]
                        if len(place) == 4:
                            place = place[:2] + shift / 3 * place[2:] / 2
                        else:
                            place = place + shift / torch.tensor([width, height])
                        grid = (2 * place - 1).reshape(1, 1, 1, 2)
                        read = F.grid_sample(map_, grid, align_corners=False).flatten()
                        weight = weights[image, number, head, level, point]
                        attended[image, number, 4 * head : 4 * head + 4] += weight * read
    return layer.output_proj(attended)


@pytest.mark.parametrize("kind", ["points", "boxes"])
@pytest.mark.parametrize("is_padded", [False, True], ids=["whole", "padded"])
def test_it_reads_what_a_loop_reads(layer, inputs, kind, is_padded):
    padding = inputs["padding"] if is_padded else None
    query, source, references = inputs["query"], inputs["source"], inputs[kind]
    expected = by_hand(layer, query, references, source, padding)
    attended = layer(query, references, source, SHAPES, STARTS, padding)
    torch.testing.assert_close(attended, expected)


def test_points_of_all_images_and_levels_are_those_repeated(layer, inputs):
    points = inputs["points"][0, :, 0]
    repeated = points[None, :, None].expand(2, -1, 2, -1)
    query, source = inputs["query"], inputs["source"]
    one = layer(query, points, source, SHAPES, STARTS)
    torch.testing.assert_close(one, layer(query, repeated, source, SHAPES, STARTS))


def test_padded_pixels_are_read_as_zeros_whatever_they_hold(layer, inputs):
    padding, source = inputs["padding"], inputs["source"]
    changed = torch.where(padding[..., None], torch.full_like(source, 1e6), source)
    results = [
        layer(inputs["query"], inputs["boxes"], pixels, SHAPES, STARTS, padding)
        for pixels in (source, changed)
    ]
    torch.testing.assert_close(*results, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["points", "boxes"])
def test_it_equals_the_port_of_grounding_dino(layer, inputs, kind):
    pytest.importorskip("transformers", "5")
    from transformers import GroundingDinoConfig
    from transformers.models.grounding_dino import modeling_grounding_dino as port

    config = GroundingDinoConfig(d_model=8, num_feature_levels=2, disable_custom_kernels=True)
    theirs = port.GroundingDinoMultiscaleDeformableAttention(config, num_heads=2, n_points=3)
    theirs = theirs.double()
    theirs.load_state_dict(layer.state_dict())  # strict: the names are the same
    query, source, padding = inputs["query"], inputs["source"], inputs["padding"]
    expected = theirs(
        hidden_states=query,
        attention_mask=~padding,
        encoder_hidden_states=source,
        reference_points=inputs[kind],
        spatial_shapes=SHAPES,
        spatial_shapes_list=list(SIZES),
        level_start_index=STARTS,
    )[0]
    ours = layer(query, inputs[kind], source, SHAPES, STARTS, padding)
    torch.testing.assert_close(ours, expected)


def test_a_fresh_layer_looks_half_a_box_far(inputs):
    layer = MSDeformAttn(channels=8, num_levels=2, num_heads=4, num_points=3)
    far = layer.sampling_offsets.bias.detach().reshape(4, 2, 3, 2)[:, :, -1]
    torch.testing.assert_close((far / 3 * 0.5).abs().amax(-1), torch.full((4, 2), 0.5))


@pytest.mark.parametrize("shape", [(2, 4, 2), (2, 4, 1, 2), (1, 4, 2, 4), (2, 4, 2, 3)])
def test_reference_points_of_other_shapes_are_refused(layer, inputs, shape):
    references = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"wanted reference points \[Q, 2\], \[B, Q, L, 2\]"):
        layer(inputs["query"], references, inputs["source"], SHAPES, STARTS)


def test_centres_of_pixels_read_themselves_on_their_level(layer, inputs):
    torch.nn.init.zeros_(layer.sampling_offsets.weight)
    torch.nn.init.zeros_(layer.sampling_offsets.bias)
    torch.nn.init.zeros_(layer.attention_weights.weight)
    bias = torch.zeros(2, 2, 3, dtype=torch.float64)
    bias[:, 1] = -1e4  # looks at the first level alone
    layer.attention_weights.bias.data.copy_(bias.flatten())
    centres = pixel_centres(SIZES[:1], inputs["source"])  # [15, 2]
    source = inputs["source"]
    attended = layer(source[:, :15], centres, source, SHAPES, STARTS)
    torch.testing.assert_close(attended, layer.output_proj(layer.value_proj(source[:, :15])))

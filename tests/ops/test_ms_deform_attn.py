from __future__ import annotations

import math

import pytest
import torch

from freeseg.ops import ms_deform_attn


def brute_force(value, sizes, locations, weights):
    """One Python loop per axis: the definition, word for word."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    result = torch.zeros(batch, queries, heads, channels, dtype=value.dtype)
    for b in range(batch):
        for q in range(queries):
            for m in range(heads):
                start = 0
                for level, (height, width) in enumerate(sizes):
                    for p in range(points):
                        x = float(locations[b, q, m, level, p, 0]) * width - 0.5
                        y = float(locations[b, q, m, level, p, 1]) * height - 0.5
                        left, top = math.floor(x), math.floor(y)
                        for row in (top, top + 1):
                            for column in (left, left + 1):
                                if 0 <= row < height and 0 <= column < width:
                                    share = (1 - abs(x - column)) * (1 - abs(y - row))
                                    pixel = value[b, start + row * width + column, m]
                                    result[b, q, m] += share * weights[b, q, m, level, p] * pixel
                    start += height * width
    return result.flatten(2)


def random_case(sizes, *, batch=2, heads=2, channels=3, queries=4, points=2, spread=1.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = sum(height * width for height, width in sizes)
    rand = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    value = rand(batch, pixels, heads, channels) - 0.5
    locations = (rand(batch, queries, heads, len(sizes), points, 2) - 0.5) * spread + 0.5
    weights = rand(batch, queries, heads, len(sizes) * points).softmax(-1)
    shapes = torch.tensor(sizes)
    starts = torch.tensor([sum(h * w for h, w in sizes[:i]) for i in range(len(sizes))])
    return value, shapes, starts, locations, weights.unflatten(-1, (len(sizes), points))


@pytest.mark.parametrize(
    "sizes",
    [[(3, 5)], [(4, 4), (2, 3)], [(1, 1), (5, 1), (1, 4)]],
    ids=["one level", "two", "down to 1x1"],
)
@pytest.mark.parametrize("spread", [0.9, 4.0], ids=["inside", "far outside"])
def test_equals_the_definition(sizes, spread):
    value, shapes, starts, locations, weights = random_case(sizes, spread=spread)
    expected = brute_force(value, sizes, locations, weights)
    attended = ms_deform_attn(value, shapes, starts, locations, weights)
    torch.testing.assert_close(attended, expected)


def test_gradients_equal_finite_differences():
    value, shapes, starts, locations, weights = random_case(
        [(3, 2), (2, 2)], batch=1, queries=2, spread=0.8
    )
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, at, w: ms_deform_attn(v, shapes, starts, at, w), inputs, atol=1e-4
    )


def test_far_outside_is_zero():
    value, shapes, starts, locations, weights = random_case([(3, 3)])
    attended = ms_deform_attn(value, shapes, starts, locations + 10, weights)
    assert attended.abs().max() == 0


@pytest.mark.parametrize(
    ("position", "change", "name"),
    [
        (0, lambda t: t[0], "value must be"),
        (0, lambda t: t[:, 1:], "value holds"),
        (1, lambda t: t.flatten(), "spatial_shapes must be"),
        (2, lambda t: t[1:], "level_start_index must be"),
        (3, lambda t: t[..., 0], "sampling_locations must be"),
        (3, lambda t: t[:, :, 1:], "sampling_locations holds"),
        (4, lambda t: t[..., 1:], "attention_weights must be"),
    ],
)
def test_wrong_shapes_name_the_argument(position, change, name):
    arguments = list(random_case([(3, 3), (2, 2)]))
    arguments[position] = change(arguments[position])
    with pytest.raises(ValueError, match=name):
        ms_deform_attn(*arguments)

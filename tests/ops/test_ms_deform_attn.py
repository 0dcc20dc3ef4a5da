from __future__ import annotations

import math

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freeseg.ops import ms_deform_attn, ms_deform_attn_reference


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


def attend_and_differentiate(operator, arguments, grad_output):
    """Output and the gradients of value, locations and weights."""
    value, shapes, starts, locations, weights = arguments
    inputs = [t.detach().clone().requires_grad_() for t in (value, locations, weights)]
    attended = operator(inputs[0], shapes, starts, inputs[1], inputs[2])
    return [attended.detach(), *torch.autograd.grad(attended, inputs, grad_output)]


def reference(value, shapes, _, locations, weights):
    return ms_deform_attn_reference(value, shapes, locations, weights)


@pytest.mark.parametrize(
    "sizes",
    [[(3, 5)], [(4, 4), (2, 3)], [(1, 1), (5, 1), (1, 4)]],
    ids=["one level", "two", "down to 1x1"],
)
@pytest.mark.parametrize("spread", [0.9, 4.0], ids=["inside", "far outside"])
def test_equals_the_definition(sizes, spread, random_case, implementation):
    value, shapes, starts, locations, weights = random_case(sizes, spread=spread)
    expected = brute_force(value, sizes, locations, weights)
    attended = ms_deform_attn(value, shapes, starts, locations, weights)
    torch.testing.assert_close(attended, expected)


@pytest.mark.parametrize("channels", [1, 5, 16], ids=lambda channels: f"{channels} channels")
def test_gradients_equal_finite_differences(channels, random_case, implementation):
    value, shapes, starts, locations, weights = random_case(
        [(3, 2), (2, 2)], batch=1, queries=2, channels=channels, spread=1.2
    )
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, at, w: ms_deform_attn(v, shapes, starts, at, w), inputs, atol=1e-4
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=5),
    batch=st.integers(1, 3),
    heads=st.integers(1, 3),
    channels=st.sampled_from([1, 2, 3, 8, 16, 17, 32, 40, 64]),
    queries=st.integers(1, 150),
    points=st.sampled_from([1, 2, 3, 4, 9]),
    spread=st.sampled_from([0.5, 1.0, 1.3, 5.0, 1000.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    index=st.sampled_from([torch.int32, torch.int64]),
    seed=st.integers(0, 99),
)
def test_equals_the_reference_on_any_shape(cpp, random_case, monkeypatch, **drawn):
    monkeypatch.setenv("FREESEG_MSDA", cpp)
    arguments = random_case(**drawn)
    generator = torch.Generator().manual_seed(1)
    grad_output = torch.randn(
        arguments[0].shape[0],
        drawn["queries"],
        drawn["heads"] * drawn["channels"],
        generator=generator,
        dtype=drawn["dtype"],
    )
    expected = attend_and_differentiate(reference, arguments, grad_output)
    found = attend_and_differentiate(ms_deform_attn, arguments, grad_output)
    exact = 1e-9 if drawn["dtype"] == torch.float64 else 3e-4
    for one, other in zip(found, expected):
        scale = max(1.0, float(other.abs().max()))
        torch.testing.assert_close(one, other, rtol=exact, atol=exact * scale)


@pytest.mark.parametrize("points", [300, 513], ids=lambda points: f"{points} points")
def test_more_points_than_are_located_at_once(points, random_case, cpp, monkeypatch):
    monkeypatch.setenv("FREESEG_MSDA", cpp)
    arguments = random_case([(3, 4), (2, 2)], points=points, queries=3)
    grad_output = torch.ones(2, 3, 6, dtype=torch.float64)
    expected = attend_and_differentiate(reference, arguments, grad_output)
    found = attend_and_differentiate(ms_deform_attn, arguments, grad_output)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_rounded_once(dtype, random_case, implementation):
    arguments = random_case([(4, 5), (2, 2)], channels=32, dtype=dtype)
    widened = (arguments[0].float(), *arguments[1:])
    grad_output = torch.ones(2, 4, 64)
    expected = attend_and_differentiate(reference, widened, grad_output)
    found = attend_and_differentiate(ms_deform_attn, arguments, grad_output.to(dtype))
    assert [tensor.dtype for tensor in found] == [dtype, dtype, torch.float32, torch.float32]
    rounding = torch.finfo(dtype).eps
    for one, other in zip(found, expected):
        torch.testing.assert_close(one.float(), other, rtol=rounding, atol=1e-5)


def test_far_outside_is_zero_and_has_no_gradient(random_case, implementation):
    value, shapes, starts, locations, weights = random_case([(3, 3)])
    for shift in (10, -10, 1e30, float("nan"), float("inf")):
        arguments = (value, shapes, starts, locations + shift, weights)
        if implementation == "reference" and not math.isfinite(shift):
            continue  # grid_sample leaves it open
        found = attend_and_differentiate(ms_deform_attn, arguments, torch.ones(2, 4, 6).double())
        assert [float(tensor.abs().max()) for tensor in found] == [0, 0, 0, 0]


def test_pixels_that_are_not_seen_may_be_nan(random_case, implementation):
    value, shapes, starts, locations, weights = random_case([(2, 2), (3, 3)], spread=0)
    locations[..., 0, :, :] = 0.25  # on the first pixel of the first level
    locations[..., 1, :, :] = -0.4  # outside the second
    value[:, :4] = 1
    value[:, 4:] = float("nan")
    found = attend_and_differentiate(
        ms_deform_attn, (value, shapes, starts, locations, weights), torch.ones(2, 4, 6).double()
    )
    expected = weights[:, :, :, 0].sum(-1)[..., None].expand(-1, -1, -1, 3).flatten(2)
    torch.testing.assert_close(found[0], expected)
    assert not found[1].isnan().any()


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)], ids=["no images", "no queries"])
def test_empty_input_gives_empty_output(shape, random_case, implementation):
    arguments = random_case([(3, 3)], batch=shape[0], queries=shape[1])
    grad_output = torch.zeros(*shape, 6, dtype=torch.float64)
    attended, *gradients = attend_and_differentiate(ms_deform_attn, arguments, grad_output)
    assert attended.shape == (*shape, 6)
    assert [g.shape for g in gradients] == [arguments[i].shape for i in (0, 3, 4)]
    assert all(float(g.abs().sum()) == 0 for g in gradients)


def test_layout_in_memory_does_not_matter(random_case, implementation):
    arguments = random_case([(3, 5), (2, 2)])
    scattered = tuple(
        tensor.flip(0).flip(0).mT.contiguous().mT if tensor.dim() > 1 else tensor
        for tensor in arguments
    )
    assert not scattered[0].is_contiguous()
    assert not scattered[3].is_contiguous()
    grad_output = torch.ones(2, 6, 4, dtype=torch.float64).mT
    expected = attend_and_differentiate(ms_deform_attn, arguments, grad_output.contiguous())
    found = attend_and_differentiate(ms_deform_attn, scattered, grad_output)
    for one, other in zip(found, expected):
        assert torch.equal(one, other)


def test_same_bits_on_any_number_of_threads(random_case, cpp, monkeypatch):
    monkeypatch.setenv("FREESEG_MSDA", cpp)
    arguments = random_case(
        [(9, 7), (4, 4)], queries=300, heads=4, channels=32, dtype=torch.float32
    )
    grad_output = torch.randn(2, 300, 128, generator=torch.Generator().manual_seed(0))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(attend_and_differentiate(ms_deform_attn, arguments, grad_output))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0]))


def test_more_than_2_to_the_31_numbers_are_addressed(cpp, monkeypatch):
    monkeypatch.setenv("FREESEG_MSDA", cpp)
    side, channels = 4100, 128  # 2^31 numbers are 4096 x 4096 x 128; untouched pages take no memory
    value = torch.from_numpy(numpy.zeros((1, side * side, 1, channels), dtype=numpy.float32))
    value[0, -1] = torch.arange(channels)
    locations = torch.full((1, 1, 1, 1, 1, 2), 1 - 0.5 / side)  # the last pixel
    attended = ms_deform_attn(
        value,
        torch.tensor([[side, side]]),
        torch.tensor([0]),
        locations,
        torch.ones(1, 1, 1, 1, 1),
    )
    torch.testing.assert_close(attended[0, 0], torch.arange(128.0), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("position", "change", "name"),
    [
        (0, lambda t: t[0], "value must be"),
        (0, lambda t: t[:, 1:], "value holds"),
        (1, lambda t: t.flatten(), "spatial_shapes must be"),
        (1, lambda t: t - t, "spatial_shapes has a level of 0 x 0"),
        (2, lambda t: t[1:], "level_start_index must be"),
        (2, lambda t: t + 1, "level_start_index must be 0 for level 0, got 1"),
        (3, lambda t: t[..., 0], "sampling_locations must be"),
        (3, lambda t: t[:, :, 1:], "sampling_locations holds"),
        (4, lambda t: t[..., 1:], "attention_weights must be"),
        (4, lambda t: t.to("meta"), "attention_weights is on meta"),
    ],
)
def test_wrong_shapes_name_the_argument(position, change, name, random_case, implementation):
    arguments = list(random_case([(3, 3), (2, 2)]))
    arguments[position] = change(arguments[position])
    with pytest.raises(ValueError, match=name):
        ms_deform_attn(*arguments)


@pytest.mark.parametrize(
    ("position", "dtype", "name"),
    [
        (0, torch.int64, "value must be one of"),
        (1, torch.float32, "spatial_shapes must be one of"),
        (2, torch.bool, "level_start_index must be one of"),
        (3, torch.complex64, "sampling_locations must be one of"),
        (3, torch.float32, "sampling_locations is torch.float32, value torch.float64"),
        (4, torch.float16, "attention_weights is torch.float16, value torch.float64"),
    ],
)
def test_wrong_number_types_name_the_argument(position, dtype, name, random_case, implementation):
    arguments = list(random_case([(3, 3), (2, 2)]))
    arguments[position] = arguments[position].to(dtype)
    with pytest.raises(TypeError, match=name):
        ms_deform_attn(*arguments)

"""Multi-scale deformable attention against its definition in plain PyTorch, at 640 x 640."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark_rows.contest import Contest, Row, assert_close
from freeseg.layers import pixel_centres
from freeseg.ops import ms_deform_attn, ms_deform_attn_reference

SIZES = ((80, 80), (40, 40), (20, 20))  # strides 8, 16, 32
NUM_HEADS, NUM_CHANNELS, NUM_POINTS = 8, 32, 4
REACH = 3.0  # pixels, standard deviation of the sampling offsets
TOLERANCE = 1e-4


def _inputs() -> tuple[Tensor, ...]:
    """As in the pixel decoder: every pixel is a query and samples around itself."""
    torch.manual_seed(0)
    shapes = torch.tensor(SIZES)
    pixels = shapes.prod(1)
    starts = pixels.cumsum(0) - pixels
    num_queries = int(pixels.sum())
    value = torch.randn(1, num_queries, NUM_HEADS, NUM_CHANNELS)
    per_query = (NUM_HEADS, len(SIZES), NUM_POINTS)
    offsets = torch.randn(1, num_queries, *per_query, 2) * REACH
    centres = pixel_centres(SIZES, value)[:, None, None, None]
    locations = centres + offsets / shapes.flip(-1)[:, None]
    weights = torch.randn(1, num_queries, NUM_HEADS, len(SIZES) * NUM_POINTS).softmax(-1)
    return value, shapes, starts, locations, weights.unflatten(-1, per_query[1:])


def _reference(
    value: Tensor, shapes: Tensor, _: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    return ms_deform_attn_reference(value, shapes, locations, weights)


def _forward() -> Contest:
    inputs = _inputs()
    return Contest(
        ours=lambda: [ms_deform_attn(*inputs)],
        theirs=lambda: [_reference(*inputs)],
        check=lambda ours, theirs: assert_close(ours, theirs, TOLERANCE),
    )


def _forward_backward() -> Contest:
    value, shapes, starts, locations, weights = _inputs()
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    grad = torch.randn(1, value.shape[1], NUM_HEADS * NUM_CHANNELS)

    def differentiate(operator):
        attended = operator(value, shapes, starts, locations, weights)
        return [attended.detach(), *torch.autograd.grad(attended, leaves, grad)]

    return Contest(
        ours=lambda: differentiate(ms_deform_attn),
        theirs=lambda: differentiate(_reference),
        check=lambda ours, theirs: assert_close(ours, theirs, TOLERANCE),
    )


ROWS = (
    Row("op-forward", "ms_deform_attn, forward, 640x640", "reference", 20, _forward),
    Row("op-backward", "ms_deform_attn, forward and backward", "reference", 15, _forward_backward),
)

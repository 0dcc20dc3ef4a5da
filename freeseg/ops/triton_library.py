"""Calls of the Triton kernels, for GPUs on a machine without a compiler for them.

With TRITON_INTERPRET=1 they run on the CPU, for tests.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from freeseg.ops.samples import Samples

TILE = 1024  # numbers of one tile [queries, channels]


def is_interpreted() -> bool:
    """Whether Triton runs its kernels in Python."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def device_types() -> tuple[str, ...]:
    """Where the kernels run."""
    return ("cuda", "cpu") if is_interpreted() else ("cuda",)


def why_not() -> str | None:
    """None when Triton is there and something it runs on."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if not (torch.cuda.is_available() or is_interpreted()):
        return "no CUDA device"
    return None


def forward(samples: Samples) -> Tensor:
    """[B, Q, M * D]."""
    value = samples.value.contiguous()
    output = value.new_empty(samples.output_shape)
    _launch("forward_kernel", samples, value, output)
    return output


def backward(samples: Samples, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value [B, S, M, D], locations and weights."""
    value = samples.value.contiguous()
    grad_value = torch.zeros_like(value, dtype=samples.locations.dtype)
    grad_locations = torch.empty_like(samples.locations)
    grad_weights = torch.empty_like(samples.weights)
    gradients = (grad_output.contiguous(), grad_value, grad_locations, grad_weights)
    _launch("backward_kernel", samples, value, *gradients)
    return grad_value, grad_locations, grad_weights


def _launch(name: str, samples: Samples, value: Tensor, *arrays: Tensor) -> None:
    batch_size, num_pixels, num_heads, channels = value.shape
    _, num_queries, _, num_levels, num_points, _ = samples.locations.shape
    tile_channels = 1 << (channels - 1).bit_length()
    tile_queries = max(1, TILE // tile_channels)
    blocks = -(-num_queries // tile_queries)
    _kernels()[name][(batch_size * num_heads * blocks,)](
        value,
        samples.sizes,
        samples.starts,
        samples.locations,
        samples.weights,
        *arrays,
        num_pixels,
        num_heads,
        channels,
        num_queries,
        num_levels,
        num_points,
        block=tile_queries,
        padded=tile_channels,
    )


@functools.cache
def _kernels() -> dict[str, Any]:
    """The kernels by name; importing them imports Triton, which takes seconds."""
    return vars(importlib.import_module("freeseg.ops.triton_kernels"))

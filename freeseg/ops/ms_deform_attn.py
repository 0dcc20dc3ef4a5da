"""The one public function for multi-scale deformable attention, and its registration in PyTorch.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
L levels, P points.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from freeseg.ops.implementations import choose
from freeseg.ops.samples import Samples, check_arguments

_ARGUMENTS = (
    "Tensor value, Tensor spatial_shapes, Tensor level_start_index, "
    "Tensor sampling_locations, Tensor attention_weights"
)


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al., Deformable DETR, arXiv 2010.04159, eq. 3).

    One operator ``torch.ops.freeseg.ms_deform_attn`` for PyTorch, whatever computes it (see
    `freeseg.ops.available`): it goes through autograd, autocast, ``torch.compile`` and
    ``torch.export``. Sums are in float32, or float64 for a float64 value.

    Args:
        value: [B, S, M, D], the levels flattened one after the other, rows first. Float of 16, 32
            or 64 bits; the last goes with locations and weights of 64 bits only.
        spatial_shapes: int32 or int64 [L, 2], (height, width) of every level. May stay on the CPU.
        level_start_index: int32 or int64 [L], first pixel of every level in S. Likewise.
        sampling_locations: [B, Q, M, L, P, 2], (x, y) in [0, 1] of the level; anything outside
            reads zeros. Best left in float32 beside a value of 16 bits.
        attention_weights: [B, Q, M, L, P].

    Returns:
        [B, Q, M * D] in the number type of `value`.

    Raises:
        ValueError: When shapes, devices or levels disagree; the message names the argument.
        TypeError: On a number type that it does not take.
        NotImplementedError: Under ``torch.func.vmap``.
    """
    return _operator(
        value, spatial_shapes, level_start_index, sampling_locations, attention_weights
    )


@torch.library.custom_op(
    "freeseg::ms_deform_attn", mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor"
)
def _operator(*arguments: Tensor) -> Tensor:
    check_arguments(*arguments)
    samples = Samples.prepare(*arguments)
    if samples.locations.numel() == 0:
        return samples.value.new_zeros(samples.output_shape)
    return choose(samples.value.device).forward(samples)


@torch.library.custom_op(
    "freeseg::ms_deform_attn_backward",
    mutates_args=(),
    schema=f"(Tensor grad_output, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
)
def _backward_operator(grad_output: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    samples = Samples.prepare(*arguments)
    inputs = _differentiable(arguments)
    if samples.locations.numel() == 0:
        value, locations, weights = (torch.zeros_like(tensor) for tensor in inputs)
        return value, locations, weights
    gradients = choose(samples.value.device).backward(samples, grad_output)
    value, locations, weights = (
        gradient.to(tensor.dtype).contiguous() for gradient, tensor in zip(gradients, inputs)
    )
    return value, locations, weights


@_operator.register_fake
def _(*arguments: Tensor) -> Tensor:
    check_arguments(*arguments)
    value, _, _, locations, _ = arguments
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


@_backward_operator.register_fake
def _(grad_output: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value, locations, weights = (
        tensor.new_empty(tensor.shape) for tensor in _differentiable(arguments)
    )
    return value, locations, weights


def _differentiable(arguments: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    value, _, _, locations, weights = arguments
    return value, locations, weights


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    value, locations, weights = _backward_operator(grad_output, *ctx.saved_tensors)
    return value, None, None, locations, weights


def _refuse_vmap(*_: Any) -> Any:
    raise NotImplementedError(
        "ms_deform_attn does not run under vmap: it takes a batch already, move the axis there"
    )


_operator.register_autograd(_differentiate, setup_context=_save)
torch.library.register_vmap("freeseg::ms_deform_attn", _refuse_vmap)

"""Thin layers over torch.nn that accept a norm and an activation, and helpers for tracing."""

# torchscript reads the annotations of the free functions below: no postponed evaluation here
import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

BatchNorm2d = torch.nn.BatchNorm2d
ConvTranspose2d = torch.nn.ConvTranspose2d
Linear = torch.nn.Linear
interpolate = F.interpolate


def shapes_to_tensor(x: list[int], device: torch.device | None = None) -> torch.Tensor:
    """Turn sizes (ints, or scalar tensors while tracing) into one tensor without constants."""
    if not torch.jit.is_scripting() and torch.jit.is_tracing():
        assert all([isinstance(size, torch.Tensor) for size in x]), (  # noqa: C419 (scripted)
            "Shape should be tensor during tracing!"
        )
        return torch.stack(x).to(device=device)
    return torch.as_tensor(x, device=device)


@torch.jit.script_if_tracing
def move_device_like(src: torch.Tensor, dst: torch.Tensor) -> torch.Tensor:
    """Move `src` to the device of `dst`; a trace records the rule, not today's device."""
    return src.to(dst.device)


def check_if_dynamo_compiling() -> bool:
    """Whether torch.compile is looking at this call."""
    return hasattr(torch, "compiler") and torch.compiler.is_compiling()


def disable_torch_compiler(func: Callable) -> Callable:
    """Keep torch.compile out of `func`."""
    return torch.compiler.disable(func) if hasattr(torch, "compiler") else func


def cat(tensors: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Concatenate; a single tensor comes back itself, not copied."""
    assert isinstance(tensors, (list, tuple))
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim)


def empty_input_loss_func_wrapper(loss_func: Callable) -> Callable:
    """Let a loss with a `reduction` return a differentiable 0, not nan, on empty targets."""

    @functools.wraps(loss_func)
    def wrapped(
        input: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean", **kwargs: Any
    ) -> torch.Tensor:
        is_undefined_mean = reduction == "mean" and target.numel() == 0
        if is_undefined_mean:
            return 0.0 * input.sum()
        return loss_func(input, target, reduction=reduction, **kwargs)

    return wrapped


cross_entropy = empty_input_loss_func_wrapper(F.cross_entropy)


class Conv2d(torch.nn.Conv2d):
    """A convolution followed by an optional `norm` module and an optional `activation`."""

    def __init__(self, *args: Any, **kwargs: Any):
        norm, activation = kwargs.pop("norm", None), kwargs.pop("activation", None)
        super().__init__(*args, **kwargs)
        self.norm = norm
        self.activation = activation

    def forward(self, x):
        if not torch.jit.is_scripting() and self.training:
            self._refuse_empty_batch_norm(x)
        x = self._conv_forward(x, self.weight, self.bias)
        if self.norm is not None:
            x = self.norm(x)
        if self.activation is not None:
            x = self.activation(x)
        return x

    @torch.jit.unused
    def _refuse_empty_batch_norm(self, x: torch.Tensor) -> None:
        if not isinstance(self.norm, torch.nn.SyncBatchNorm) or check_if_dynamo_compiling():
            return
        with warnings.catch_warnings(record=True):  # a trace warns about reading the size
            assert x.numel() > 0, "SyncBatchNorm does not support empty inputs!"


def nonzero_tuple(x):
    """Return the indices of nonzero elements, one tensor per dimension; scriptable."""
    if not torch.jit.is_scripting():
        return x.nonzero(as_tuple=True)
    at_least_1d = x.unsqueeze(0) if x.dim() == 0 else x
    return at_least_1d.nonzero().unbind(1)

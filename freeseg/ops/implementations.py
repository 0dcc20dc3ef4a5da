"""Which implementation of multi-scale deformable attention runs, and why not a faster one."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import freeseg.ops.native as native
import freeseg.ops.triton_library as triton_library
from freeseg.ops.reference import ms_deform_attn_reference, ms_deform_attn_reference_backward
from freeseg.ops.samples import Samples

VARIABLE = "FREESEG_MSDA"  # environment variable that forces one by name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Implementation:
    """One way to compute the operator.

    Attributes:
        name: What FREESEG_MSDA calls it.
        device_types: Where it runs; empty for everywhere.
        forward: [B, Q, M * D] of samples.
        backward: Gradients of value, locations and weights.
        why_not: None when usable on this machine, else the reason.
    """

    name: str
    device_types: tuple[str, ...]
    forward: Callable[[Samples], Tensor]
    backward: Callable[[Samples, Tensor], tuple[Tensor, Tensor, Tensor]]
    why_not: Callable[[], str | None]


@dataclass(frozen=True)
class Availability:
    """Whether an implementation can be used here, and where or why not."""

    is_usable: bool
    reason: str


def available() -> dict[str, Availability]:
    """Every implementation by name, fastest first.

    `FREESEG_MSDA` set to a name forces that one; otherwise the first usable one on the tensors'
    device runs.
    """
    return {one.name: _availability(one) for one in IMPLEMENTATIONS}


def choose(device: torch.device) -> Implementation:
    """The implementation that runs on a device.

    Raises:
        RuntimeError: When `FREESEG_MSDA` forces one that cannot run there.
        ValueError: When it names none.
    """
    forced = os.environ.get(VARIABLE, "")
    if forced:
        return _forced(forced, device.type)
    return _fastest(device.type)


def _forced(name: str, device_type: str) -> Implementation:
    known = {one.name: one for one in IMPLEMENTATIONS}
    if name not in known:
        raise ValueError(f"{VARIABLE} must be one of {sorted(known)}, got {name!r}")
    one, state = known[name], _availability(known[name])
    if not state.is_usable:
        raise RuntimeError(f"{VARIABLE}={name} cannot run: {state.reason}")
    if one.device_types and device_type not in one.device_types:
        raise RuntimeError(
            f"{VARIABLE}={name} runs {state.reason}, the tensors are on {device_type}"
        )
    return one


@functools.cache
def _fastest(device_type: str) -> Implementation:
    """The first usable one; the reference, which is slow, with one warning that says why."""
    reasons: list[str] = []
    for one in IMPLEMENTATIONS:
        if one.device_types and device_type not in one.device_types:
            continue
        reason = one.why_not()
        if reason is None:
            if one.name == "reference" and reasons:
                logger.warning("ms_deform_attn runs its slow reference: %s", "; ".join(reasons))
            return one
        reasons.append(f"{one.name}: {reason}")
    raise AssertionError("the reference runs everywhere")


def _availability(one: Implementation) -> Availability:
    reason = one.why_not()
    if reason is not None:
        return Availability(False, reason)
    return Availability(True, f"on {' and '.join(one.device_types) or 'every device'}")


def _reference_forward(samples: Samples) -> Tensor:
    dtype = samples.locations.dtype
    attended = ms_deform_attn_reference(
        samples.value.to(dtype), samples.sizes, samples.locations, samples.weights
    )
    return attended.to(samples.value.dtype).contiguous()


def _reference_backward(samples: Samples, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dtype = samples.locations.dtype
    return ms_deform_attn_reference_backward(
        samples.value.to(dtype),
        samples.sizes,
        samples.locations,
        samples.weights,
        grad_output.to(dtype),
    )


IMPLEMENTATIONS = (
    Implementation(
        "cuda", ("cuda",), native.cuda_forward, native.cuda_backward, native.why_no_cuda
    ),
    Implementation("cpp", ("cpu",), native.cpp_forward, native.cpp_backward, native.why_no_cpp),
    Implementation(
        "triton",
        triton_library.device_types(),
        triton_library.forward,
        triton_library.backward,
        triton_library.why_not,
    ),
    Implementation("reference", (), _reference_forward, _reference_backward, lambda: None),
)

"""Calls of the compiled libraries through their C functions; `build` makes them.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator

import torch
from torch import Tensor

from freeseg.ops.build import library_path
from freeseg.ops.samples import Samples

DTYPES = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}


class Problem(ctypes.Structure):
    """``FreesegProblem`` of csrc/problem.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("dtype", "batch", "pixels", "heads", "channels")),
        *((name, ctypes.c_int64) for name in ("queries", "levels", "points")),
        *((name, ctypes.c_void_p) for name in ("sizes", "starts", "value", "locations")),
        *((name, ctypes.c_void_p) for name in ("weights", "output", "grad_output")),
        *((name, ctypes.c_void_p) for name in ("grad_value", "grad_locations", "grad_weights")),
    )


@functools.cache
def load(name: str) -> ctypes.CDLL | str:
    """Library "cpp" or "cuda", or a sentence that says why there is none."""
    path = library_path(name)
    if not path.exists():
        return "not built, see python -m freeseg.ops.build"
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        return f"does not load: {error}"


def why_no_cpp() -> str | None:
    """None when the CPU library is there."""
    library = load("cpp")
    return library if isinstance(library, str) else None


def why_no_cuda() -> str | None:
    """None when the CUDA library is there and a GPU."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    library = load("cuda")
    return library if isinstance(library, str) else None


def cpp_forward(samples: Samples) -> Tensor:
    """[B, Q, M * D] on the CPU; half precision is widened, which is exact, and rounded once."""
    value = _heads_first(samples)
    output = value.new_empty(samples.output_shape)
    _call("cpp", "freeseg_cpu_forward", samples, value, {"output": output})
    return output.to(samples.value.dtype)


def cpp_backward(samples: Samples, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value [B, S, M, D], locations and weights on the CPU."""
    value = _heads_first(samples)
    gradients = {
        "grad_output": grad_output.to(value.dtype).contiguous(),
        "grad_value": torch.empty_like(value),
        "grad_locations": torch.empty_like(samples.locations),
        "grad_weights": torch.empty_like(samples.weights),
    }
    _call("cpp", "freeseg_cpu_backward", samples, value, gradients)
    grad_value = gradients["grad_value"].transpose(1, 2)  # [B, S, M, D]
    return grad_value, gradients["grad_locations"], gradients["grad_weights"]


def cuda_forward(samples: Samples) -> Tensor:
    """[B, Q, M * D] on the GPU."""
    value = samples.value.contiguous()
    output = value.new_empty(samples.output_shape)
    _call("cuda", "freeseg_cuda_forward", samples, value, {"output": output})
    return output


def cuda_backward(samples: Samples, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value [B, S, M, D], locations and weights on the GPU."""
    value = samples.value.contiguous()
    gradients = {
        "grad_output": grad_output.to(value.dtype).contiguous(),
        "grad_value": torch.zeros_like(value, dtype=samples.locations.dtype),
        "grad_locations": torch.empty_like(samples.locations),
        "grad_weights": torch.empty_like(samples.weights),
    }
    _call("cuda", "freeseg_cuda_backward", samples, value, gradients)
    return gradients["grad_value"], gradients["grad_locations"], gradients["grad_weights"]


def _heads_first(samples: Samples) -> Tensor:
    """The value as [B, M, S, D] in the number type of the sums."""
    return samples.value.transpose(1, 2).to(samples.locations.dtype).contiguous()


def _call(
    name: str, function: str, samples: Samples, value: Tensor, arrays: dict[str, Tensor]
) -> None:
    library = load(name)
    if isinstance(library, str):
        raise RuntimeError(f"ms_deform_attn, {name}: {library}")
    batch_size, num_queries, num_heads, num_levels, num_points, _ = samples.locations.shape
    problem = Problem(
        dtype=DTYPES[value.dtype],
        batch=batch_size,
        pixels=samples.value.shape[1],
        heads=num_heads,
        channels=samples.value.shape[3],
        queries=num_queries,
        levels=num_levels,
        points=num_points,
        sizes=samples.sizes.data_ptr(),
        starts=samples.starts.data_ptr(),
        value=value.data_ptr(),
        locations=samples.locations.data_ptr(),
        weights=samples.weights.data_ptr(),
        **{key: tensor.data_ptr() for key, tensor in arrays.items()},
    )
    with _on(value) as where:
        code = getattr(library, function)(ctypes.byref(problem), where)
    if code:
        raise RuntimeError(f"ms_deform_attn, {name}: {function} failed with error {code}")


@contextlib.contextmanager
def _on(value: Tensor) -> Iterator[ctypes.c_int | ctypes.c_void_p]:
    """What a function takes beside the problem: a number of threads, or a stream."""
    if value.is_cuda:
        with torch.cuda.device(value.device):
            yield ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    else:
        yield ctypes.c_int(torch.get_num_threads())

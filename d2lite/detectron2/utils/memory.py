"""Recovers from CUDA running out of memory."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["retry_if_cuda_oom"]


@contextmanager
def _ignore_torch_cuda_oom():
    try:
        yield
    except RuntimeError as error:
        if "CUDA out of memory. " not in str(error):
            raise


def _on_cpu(argument: Any) -> Any:
    """Move one argument off CUDA; nested structures and everything else pass unchanged."""
    device = getattr(argument, "device", None)
    if getattr(device, "type", None) == "cuda" and hasattr(argument, "to"):
        return argument.to(device="cpu")
    return argument


def retry_if_cuda_oom(func: Callable) -> Callable:
    """Wrap a stateless function: if CUDA memory runs out, retry with an empty cache, then on CPU.

    After the last resort the results are CPU tensors; the caller moves them back if it matters.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for prepare in (lambda: None, torch.cuda.empty_cache):
            with _ignore_torch_cuda_oom():
                prepare()
                return func(*args, **kwargs)
        logging.getLogger(__name__).info(f"CUDA memory ran out: copying inputs of {func} to CPU")
        return func(*map(_on_cpu, args), **{name: _on_cpu(v) for name, v in kwargs.items()})

    return wrapped

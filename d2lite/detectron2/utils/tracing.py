"""Assertions that torch.fx tracing leaves out."""

from __future__ import annotations

import logging
import sys

import torch


def is_fx_tracing() -> bool:
    """Whether torch.fx is symbolically tracing the current call."""
    from torch.fx._symbolic_trace import is_fx_tracing as fx_is_tracing

    return False if torch.jit.is_scripting() else fx_is_tracing()


def assert_fx_safe(condition: bool | str, message: str) -> torch.Tensor:
    """Assert, unless tracing; a string is evaluated in the caller's frame, and so not when tracing.

    Returns a tensor because a traced function cannot return None.
    """
    if torch.jit.is_scripting() or is_fx_tracing():
        return torch.zeros(1)
    if isinstance(condition, str):
        frame = sys._getframe(1)
        condition = eval(condition, frame.f_globals, frame.f_locals)
    try:
        torch._assert(condition, message)
    except torch.fx.proxy.TraceError as error:
        logging.getLogger(__name__).warning(f"an assertion cannot be traced, skipping it: {error}")
    return torch.ones(1)

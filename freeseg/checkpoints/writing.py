"""Writes weights in the two forms that Detectron2 and everyone else read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Callable

import torch
from safetensors.torch import save
from torch import Tensor

SUFFIXES = (".pth", ".safetensors")


def write_checkpoint(
    state: Mapping[str, Tensor],
    path: str | Path,
    *,
    half: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes ``{"model": state}`` to a .pth file, or `state` to a .safetensors file.

    Args:
        state: Weights by name.
        path: Of the file; its folder is made.
        half: Write float values at half precision, in half the room, except where one of a tensor
            is too large for it. Models read them into their own precision.
        metadata: Texts beside the weights, of a .safetensors file alone.

    Raises:
        ValueError: On any other suffix.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"wanted a file that ends with {' or '.join(SUFFIXES)}, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: (_halved(value) if half else value).contiguous() for key, value in state.items()
    }
    if path.suffix == ".pth":
        write_atomically(path, lambda file: torch.save({"model": tensors}, file))
    else:
        about = None if metadata is None else dict(metadata)
        content = save({key: value.clone() for key, value in tensors.items()}, about)
        write_atomically(path, lambda file: file.write(content))


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Calls `write` on a new file that replaces `path` only after it has reached the disk.

    Raises:
        OSError: When the file cannot be written; what was at `path` is still there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # PyTorch's writer has its own words for a full disk
        partial.unlink(missing_ok=True)  # of no use, and the disk may be full
        cause = error if isinstance(error, OSError) else error.__context__ or error
        reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
        raise OSError(f"{path} cannot be written: {reason}") from error


def _halved(value: Tensor) -> Tensor:
    if value.dtype not in (torch.float32, torch.float64):
        return value
    halved = value.half()
    return halved if torch.equal(halved.isfinite(), value.isfinite()) else value

"""Writes weights in the two forms that Detectron2 and everyone else read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

SUFFIXES = (".pth", ".safetensors")


def write_checkpoint(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Writes ``{"model": state}`` to a .pth file, or `state` to a .safetensors file.

    Raises:
        ValueError: On any other suffix.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"wanted a file that ends with {' or '.join(SUFFIXES)}, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.contiguous() for key, value in state.items()}
    if path.suffix == ".pth":
        torch.save({"model": tensors}, path)
    else:
        save_file({key: value.clone() for key, value in tensors.items()}, path)

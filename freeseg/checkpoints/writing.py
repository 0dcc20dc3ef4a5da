"""Writes weights in the two forms that Detectron2 and everyone else read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from freeseg.files import write_atomically, write_bytes
from freeseg.structures import CLASSES_KEY

SUFFIXES = (".pth", ".safetensors")


def write_checkpoint(
    state: Mapping[str, Tensor],
    path: str | Path,
    *,
    half: bool = False,
    metadata: Mapping[str, str] | None = None,
    classes: list[dict[str, Any]] | None = None,
) -> None:
    """Writes ``{"model": state}`` to a .pth file, or `state` to a .safetensors file.

    Args:
        state: Weights by name.
        path: Of the file; its folder is made.
        half: Write float values at half precision, in half the room, except where one of a tensor
            is too large for it. Models read them into their own precision.
        metadata: Texts beside the weights, of a .safetensors file alone.
        classes: The class list of the model, as `freeseg.classes` reads it out of the file.

    Raises:
        ValueError: On any other suffix.
    """
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise ValueError(f"wanted a file that ends with {' or '.join(SUFFIXES)}, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: (_halved(value) if half else value).contiguous() for key, value in state.items()
    }
    if path.suffix == ".pth":
        listed = {} if classes is None else {CLASSES_KEY: classes}
        write_atomically(path, lambda file: torch.save({"model": tensors, **listed}, file))
    else:
        about = None if metadata is None else dict(metadata)
        if classes is not None:
            about = {**(about or {}), CLASSES_KEY: json.dumps(classes)}
        content = save({key: value.clone() for key, value in tensors.items()}, about)
        write_bytes(path, content)


def _halved(value: Tensor) -> Tensor:
    if value.dtype not in (torch.float32, torch.float64):
        return value
    halved = value.half()
    return halved if torch.equal(halved.isfinite(), value.isfinite()) else value

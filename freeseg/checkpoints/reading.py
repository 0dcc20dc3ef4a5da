"""Reads weights of any origin; a file is data and nothing in it is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

WRAPPERS = ("model", "state_dict")  # where trainers keep the weights beside their own state
PARALLEL_PREFIX = "module."  # of models that were trained on several processes
# what a pickled numpy array is made of; everything else is refused
PLAIN_CLASSES = {
    ("collections", "OrderedDict"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The weights in a .safetensors, PyTorch (.pth, .pt, .ckpt, .bin) or Detectron2 .pkl file.

    Raises:
        ValueError: When the file holds no weights, or something that is not data.
    """
    suffix = Path(path).suffix
    try:
        if suffix == ".safetensors":
            content: Any = load_file(str(path))
        elif suffix == ".pkl":
            content = read_pickle(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} holds more than data: {error}") from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    items = content.items() if isinstance(content, Mapping) else ()
    state = {
        key: torch.as_tensor(value)
        for key, value in items
        if isinstance(key, str) and isinstance(value, (Tensor, np.ndarray))
    }
    if not state:
        raise ValueError(f"{path} holds no weights")
    if all(key.startswith(PARALLEL_PREFIX) for key in state):
        state = {key[len(PARALLEL_PREFIX) :]: value for key, value in state.items()}
    return state


def read_pickle(path: str | Path) -> Any:
    """The content of a pickle of numbers, texts, containers and arrays.

    Raises:
        pickle.UnpicklingError: When it asks for anything else, before that is made.
    """
    with open(path, "rb") as file:
        return _PlainUnpickler(file, encoding="latin1").load()


class _PlainUnpickler(pickle.Unpickler):
    """Makes numbers, texts, containers and arrays, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN_CLASSES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)

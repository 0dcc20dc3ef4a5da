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

from freeseg.checkpoints.json_object import read_json_object
from freeseg.checkpoints.plain_pickle import PlainUnpickler
from freeseg.checkpoints.reason import reason_of
from freeseg.checkpoints.torchscript import is_archive, read_archive

WRAPPERS = ("model", "state_dict")  # where trainers keep the weights beside their own state
# of models that were trained on several processes, and of compiled ones
PREFIXES = ("module.", "_orig_mod.")
INDEX_SUFFIX = ".index.json"  # a file that names the files of a model in several parts
_NO_WEIGHTS = {  # how files begin that stand where weights should
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS",
}


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The weights in a .safetensors, PyTorch (.pth, .pt, .ckpt, .bin) or Detectron2 .pkl file.

    PyTorch's may be a TorchScript archive, whose code is not run. Of an index of Hugging Face's
    (.index.json) these are the weights of all files that it names.

    Raises:
        OSError: When there is no such file, or it may not be read.
        ValueError: When the file is damaged, or holds no weights or something that is not data.
    """
    path = Path(path).expanduser()
    if path.name.endswith(INDEX_SUFFIX):
        return _read_parts(path)
    content = unwrapped(read_content(path))
    items = content.items() if isinstance(content, Mapping) else ()
    state = {
        key: torch.as_tensor(value)
        for key, value in items
        if isinstance(key, str) and isinstance(value, (Tensor, np.ndarray))
    }
    if not state:
        raise ValueError(f"{path} holds no weights")
    return without_prefix(state)


def _read_parts(index: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name in index_parts(index):
        part = index.parent / name
        if not part.is_file():
            raise FileNotFoundError(f"{index} names {name}, which is not beside it: copy it there")
        state.update(read_checkpoint(part))
    return without_prefix(state)


def unwrapped(content: Any) -> Any:
    """What is in the innermost of a trainer's containers; without any, the content itself."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    return content


def without_prefix(state: Mapping[str, Any]) -> dict[str, Any]:
    """Weights by the names that they have in the model itself, whatever it was wrapped in."""
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            return without_prefix({key[len(prefix) :]: value for key, value in state.items()})
    return dict(state)


def index_parts(index: Path) -> list[str]:
    """Names of the files that an index of Hugging Face's names; they lie beside it.

    Raises:
        ValueError: It names none.
    """
    parts = read_json_object(index).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise ValueError(f"{index} has no weight_map, which names the files of the weights")
    return sorted({str(name) for name in parts.values()})


def read_content(path: str | Path) -> Any:
    """Whatever a .safetensors, .pkl or PyTorch file holds, as it is.

    Raises:
        OSError: When there is no such file, or it may not be read.
        ValueError: When it is damaged, or holds something that is not data; one line says which.
    """
    path = Path(path).expanduser()
    _refuse_no_weights(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(str(path))
        if path.suffix == ".pkl":
            with path.open("rb") as file:
                return PlainUnpickler(file, encoding="latin1").load()
        if is_archive(path):
            return read_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds no weights: it holds more than data, or is damaged ({reason_of(error)})"
        ) from error
    except Exception as error:  # a file that is not whole makes its reader stumble anywhere
        raise ValueError(f"{path} is damaged or cut off: {reason_of(error)}") from error


def _refuse_no_weights(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise ValueError(f"{path} is empty: copy or download it again")
    if path.suffix == ".json":
        raise ValueError(f"{path} is JSON, not weights: name the weights beside it, or the folder")
    for mark, kind in _NO_WEIGHTS.items():
        if start.lstrip().lower().startswith(mark):
            raise ValueError(f"{path} is {kind}, not weights: download the file itself")


def refuse_nan(state: Mapping[str, Any], path: str | Path) -> None:
    """Complains about weights that are no numbers, which would silently spoil every result.

    Raises:
        ValueError: With their count and the first name.
    """
    spoilt = [
        name
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and bool(value.isnan().any())
    ]
    if spoilt:
        raise ValueError(
            f"{path} holds NaN in {len(spoilt)} of {len(state)} weights, the first is {spoilt[0]}"
        )

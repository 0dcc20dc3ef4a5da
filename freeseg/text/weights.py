"""Reads checkpoint files of CLIP models in the forms in which they are published."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

# sizes that OpenAI keeps among the weights
OPENAI_SIZES = ("input_resolution", "context_length", "vocab_size")
_WRAPPERS = ("state_dict", "model")
_PREFIX = "module."


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, a PyTorch checkpoint or a TorchScript archive, as float32.

    Nothing in the file is executed. Wrappers around the state dict, and the prefix of models that
    were trained on several processes, are taken off. OpenAI's archives have their sizes among the
    tensors, see `is_openai_format`.
    """
    if Path(path).suffix == ".safetensors":
        content: Any = load_file(str(path))
    elif _is_torchscript(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            content = torch.jit.load(str(path), map_location="cpu").state_dict()
    else:
        content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = {
        key: value if value.dtype == torch.int64 else value.float()
        for key, value in content.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise ValueError(f"{path} holds no tensors")
    if all(key.startswith(_PREFIX) for key in tensors):
        tensors = {key[len(_PREFIX) :]: value for key, value in tensors.items()}
    return tensors


def is_openai_format(state: Mapping[str, Tensor]) -> bool:
    """True for the weights of OpenAI's release, which were trained with QuickGELU."""
    return OPENAI_SIZES[0] in state


def _is_torchscript(path: str | Path) -> bool:
    """A zip archive that holds code beside its tensors."""
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())

"""Reads checkpoint files of CLIP models in the forms in which they are published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from freeseg.checkpoints import read_checkpoint

# sizes that OpenAI keeps among the weights
OPENAI_SIZES = ("input_resolution", "context_length", "vocab_size")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, a PyTorch checkpoint or a TorchScript archive, as float32.

    Nothing in the file is executed, see `read_checkpoint`. OpenAI's archives have their sizes among
    the tensors, see `is_openai_format`.
    """
    return {
        key: value if value.dtype == torch.int64 else value.float()
        for key, value in read_checkpoint(path).items()
    }


def is_openai_format(state: Mapping[str, Tensor]) -> bool:
    """True for the weights of OpenAI's release, which were trained with QuickGELU."""
    return OPENAI_SIZES[0] in state

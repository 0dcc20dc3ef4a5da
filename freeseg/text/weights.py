"""Checkpoint files of CLIP models in the forms in which they are published, and without a CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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


def keep_own_encoder(module: nn.Module, name: str, *, saves_it: bool) -> None:
    """Lets a module read checkpoints without its frozen encoder, which then stays as it is.

    Args:
        module: That has the encoder.
        name: Of the encoder in it.
        saves_it: Whether checkpoints of the module hold the encoder.
    """
    start = f"{name}."

    def complete(one: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        if not any(key.startswith(prefix + start) for key in state):
            state.update(one.get_submodule(name).state_dict(prefix=prefix + start))

    def leave_out(_: nn.Module, state: dict[str, Tensor], prefix: str, *__: Any) -> None:
        for key in [key for key in state if key.startswith(prefix + start)]:
            del state[key]

    module._register_load_state_dict_pre_hook(complete, with_module=True)
    if not saves_it:
        module.register_state_dict_post_hook(leave_out)

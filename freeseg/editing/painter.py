"""Painters: inpainting pipelines of diffusers, by a name of the hub or from a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from freeseg.zoo import DownloadError
from freeseg.zoo.connection import check_reachable
from freeseg_command.names import DEFAULT_PAINTER

INSTALL = "pip install 'freeseg[diffusers]'"
_DESCRIPTION = "model_index.json"  # which a folder of diffusers has
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check_painter(name_or_folder: str | os.PathLike[str]) -> None:
    """Says, before anything is computed, why a painter cannot be loaded, as far as that is known.

    Raises:
        ImportError: diffusers is not installed.
        FileNotFoundError: There is no such folder, and it is no name of the hub.
        ValueError: The folder holds no pipeline.
    """
    _auto_pipeline()
    name = os.fspath(name_or_folder)
    if name and Path(name).is_dir():
        if not (Path(name) / _DESCRIPTION).is_file():
            raise ValueError(f"folder {name} has no pipeline of diffusers: wanted {_DESCRIPTION}")
    elif not _HUB_NAME.fullmatch(name):
        raise FileNotFoundError(
            f"no painter {name!r}: wanted a folder of diffusers, or owner/name on the hub"
        )


def load_painter(
    name_or_folder: str | os.PathLike[str] = DEFAULT_PAINTER, device: str | torch.device = "cpu"
) -> Any:
    """An inpainting pipeline of diffusers, as `replace` takes it.

    A folder never touches the net; a repository of the hub is fetched into huggingface_hub's cache,
    or found there. On a GPU it computes with 16 bits.

    Raises:
        DownloadError: It is not here and cannot be fetched.
        ValueError: diffusers cannot make an inpainting pipeline of it; and what `check_painter`
            raises.
    """
    check_painter(name_or_folder)
    name = os.fspath(name_or_folder)
    is_folder = Path(name).is_dir()
    unreachable = "" if is_folder else _why_unreachable()
    try:
        painter = _auto_pipeline().from_pretrained(
            name, local_files_only=is_folder or bool(unreachable)
        )
    except Exception as error:  # of diffusers, transformers, safetensors, huggingface_hub
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if unreachable or (not is_folder and isinstance(error, OSError)):
            raise DownloadError(
                f"cannot fetch {name} from the hub ({unreachable or reason}); with a connection "
                "run it again, without one copy its folder here and name that"
            ) from None
        raise ValueError(f"{name} cannot be used as a painter: {reason}") from error
    painter.set_progress_bar_config(disable=None, leave=False)  # None: not into a file
    dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
    return painter.to(device, dtype)


def _auto_pipeline() -> Any:
    try:
        from diffusers import AutoPipelineForInpainting
    except ImportError as error:
        raise ImportError(f"replacing needs the package diffusers: {INSTALL}") from error
    return AutoPipelineForInpainting


def _why_unreachable() -> str:
    from huggingface_hub import constants

    try:
        check_reachable(constants.ENDPOINT)
    except OSError as error:
        return str(error)
    return ""

"""A model from its configuration and its weights: read here, found by `freeseg.zoo`."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Union

import torch
from torch import nn

from detectron2.config import CfgNode, get_cfg
from freeseg.checkpoints import (
    StrictCheckpointer,
    config_from_hugging_face,
    reason_of,
    weights_file,
)
from freeseg.classes import accepts_auto
from freeseg.config import add_freeseg_config, completed
from freeseg.config.mistakes import mistake_in
from freeseg.config.unused import refuse_unsupported
from freeseg.resources import config_address, expand_home, local_path

logger = logging.getLogger(__name__)

ConfigSource = Union[CfgNode, str, "os.PathLike[str]"]


def read_config(
    source: ConfigSource,
    weights: str | os.PathLike[str] | None,
    device: str | None,
    opts: Sequence[str],
) -> CfgNode:
    """Returns the frozen configuration of a model that is only asked, never trained.

    Args:
        source: A configuration, a yaml file over this package's defaults, or a folder of Hugging
            Face's.
        weights: Replaces MODEL.WEIGHTS unless None.
        device: Replaces MODEL.DEVICE unless None; then CUDA that is not there becomes the CPU.
        opts: Overrides, KEY VALUE KEY VALUE.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: It cannot be used; one line says why.
    """
    overrides = [str(item) for item in opts]
    flag = next((word for word in overrides if word.startswith("--")), None)
    if flag is not None:
        raise ValueError(f"{flag} stands among the overrides KEY VALUE: put it before them")
    if len(overrides) % 2:
        raise ValueError(f"overrides are pairs of KEY VALUE, got {' '.join(overrides)}")
    if weights is not None:
        overrides += ["MODEL.WEIGHTS", os.fspath(weights)]
    if device is not None:
        overrides += ["MODEL.DEVICE", device]
    name = "the configuration" if isinstance(source, CfgNode) else os.fspath(source)
    with _explained(name):
        cfg = completed(source).clone() if isinstance(source, CfgNode) else load_config(source)
    cfg.defrost()
    cfg.MODEL.IS_TRAIN = False  # what only training needs is not built
    with _explained("the overrides"), accepts_auto(cfg):
        cfg.merge_from_list(overrides)
    expand_home(cfg)
    with _explained(name):
        refuse_unsupported(cfg)
        is_cuda = torch.device(cfg.MODEL.DEVICE).type == "cuda"
    if is_cuda and not torch.cuda.is_available():
        if device is not None:
            raise ValueError(f"device {device} was asked for, but there is no CUDA")
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """Says in one line what is wrong with what is given in a place."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # yaml, yacs and Detectron2 have many ways to say no
        reason = mistake_in(error, completed(get_cfg())) or reason_of(error)
        raise ValueError(f"cannot use {place}: {reason}") from error


def load_config(source: str | os.PathLike[str]) -> CfgNode:
    """Returns the configuration in a yaml file, or of a model in Hugging Face's folder."""
    path = local_path(source)
    if Path(path, "config.json").is_file():
        return config_from_hugging_face(Path(path))
    if Path(path, "config.yaml").is_file():
        raise FileNotFoundError(
            f"configuration file {path} is a folder: name it as a model (--model, or "
            f"Segmenter.from_pretrained), or {Path(path, 'config.yaml')} and weights"
        )
    cfg = get_cfg()
    add_freeseg_config(cfg)
    with accepts_auto(cfg):
        cfg.merge_from_file(config_address(existing_file(path, "configuration file")))
    return cfg


def existing_file(source: str | os.PathLike[str], kind: str) -> str:
    """Returns the path of a file.

    Raises:
        FileNotFoundError: It is not there; the message calls it a `kind`.
    """
    path = os.fspath(source)
    if not Path(path).is_file():
        reason = "is a folder" if Path(path).is_dir() else "does not exist"
        raise FileNotFoundError(f"{kind} {path} {reason}")
    return path


def existing_weights(path: str) -> str:
    """Returns the path of weights, "~" replaced, or their address.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = os.path.expanduser(path)
    if "://" not in path:
        existing_file(weights_file(path), "weights file")
    return path


def load_weights(model: nn.Module, path: str, *, allow_misfit: bool = False) -> None:
    """Loads a checkpoint of any known format into a model.

    Refuses one that leaves a weight untrained or has weights the model does not; with
    `allow_misfit` these are logged.

    Args:
        model: As its configuration builds it.
        path: Of a file or of a folder of Hugging Face's, or an address; an empty one leaves the
            model untrained. For names of models see `freeseg.zoo.weights_path`.
        allow_misfit: See above.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: They cannot be used; one line says why.
    """
    if not path:
        logger.warning("the model has no weights: it is untrained")
        return
    path = existing_weights(path)
    checkpointer = StrictCheckpointer(model)
    try:
        checkpointer.load(path)
    except Exception as error:  # whatever unpickling a broken file comes up with
        raise ValueError(f"cannot load weights {path}: {reason_of(error)}") from error
    checkpointer.check_fit(path, allow_misfit=allow_misfit)

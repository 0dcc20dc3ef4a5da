"""Looks up configs and released weights by the config's path, e.g. "COCO-Detection/x.yaml".

Only a few base configs are shipped here; the addresses of the weights are all known.
"""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from detectron2._missing import UPSTREAM, missing
from detectron2.config import CfgNode, LazyConfig, get_cfg, instantiate

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_WEIGHTS = "https://dl.fbaipublicfiles.com/detectron2/"


def get_config_file(config_path: str) -> str:
    """Return the file of a shipped config.

    Raises:
        NotImplementedError: only upstream has it.
        RuntimeError: there is no such config.
    """
    filename = os.path.join(_FOLDER, "configs", config_path)
    if os.path.exists(filename):
        return filename
    folder, _, leaf = config_path.rpartition("/")
    if leaf in UPSTREAM["configs"].get(folder, ()):
        raise missing(f"the config {config_path}")
    raise RuntimeError(f"{config_path} not available in Model Zoo!")


def get_checkpoint_url(config_path: str) -> str:
    """Return the address of the weights trained with a config.

    Raises:
        RuntimeError: none were released.
    """
    weights = _released_weights(config_path)
    if weights is None:
        raise RuntimeError(f"Pretrained model for {config_path} is not available!")
    return weights


def get_config(config_path: str, trained: bool = False) -> Any:
    """Return a shipped config: CfgNode from yaml, DictConfig from Python.

    `trained` puts the released weights in, instead of the initial ones that the config names.
    """
    filename = get_config_file(config_path)
    weights = get_checkpoint_url(config_path) if trained else None
    if filename.endswith(".yaml"):
        cfg = get_cfg()
        cfg.merge_from_file(filename)
        if trained:
            cfg.MODEL.WEIGHTS = weights
        return cfg
    cfg = LazyConfig.load(filename)
    if trained:
        if "init_checkpoint" not in cfg.get("train", {}):
            raise NotImplementedError(f"{config_path} has no train.init_checkpoint to set")
        cfg.train.init_checkpoint = weights
    return cfg


def get(config_path: str, trained: bool = False, device: str | None = None) -> Any:
    """Build the model of a config, in training mode, with its weights; on CPU without a GPU."""
    import torch

    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.modeling import build_model

    cfg = get_config(config_path, trained)
    if device is None and not torch.cuda.is_available():
        device = "cpu"
    if isinstance(cfg, CfgNode):
        cfg.MODEL.DEVICE = device or cfg.MODEL.DEVICE
        model, weights = build_model(cfg), cfg.MODEL.WEIGHTS
    else:
        model = instantiate(cfg.model)
        model = model.to(device) if device else model
        weights = cfg.get("train", {}).get("init_checkpoint")
    if weights is not None:
        DetectionCheckpointer(model).load(weights)
    return model


def _released_weights(config_path: str) -> str | None:
    name = config_path.replace(".yaml", "").replace(".py", "")
    folder, _, leaf = name.rpartition("/")
    suffix = _released().get(folder, {}).get(leaf)
    return f"{_WEIGHTS}{name}/{suffix}" if suffix else None


@functools.lru_cache(maxsize=1)
def _released() -> dict[str, dict[str, str]]:
    with open(os.path.join(_FOLDER, "checkpoints.json")) as f:
        return json.load(f)

"""LSeg's keys, and their translation into constructor arguments; see `freeseg.config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from freeseg.config import cosine_factor


def add_lseg_keys(cfg: CfgNode) -> None:
    """Adds the section of LSeg; the release has no yaml, so all of it is ours."""
    cfg.MODEL.LSEG = node = CfgNode()
    node.EMBEDDING_DIM = 512  # of a pixel: the text encoder's feature size
    node.TEMPERATURE = 0.07  # cosines are divided by it; a constant
    node.REGULARISATION = "none"  # none, bottleneck, depthwise
    node.BLOCK_DEPTH = 2  # how often the regularisation is applied
    node.ACTIVATION = "lrelu"  # between applications: relu, lrelu, tanh
    node.TEMPLATES = ["{}"]  # sentences around a label; the release encodes it as it is
    node.OTHER_PROB = 0.0  # share of training steps that withhold labels, as "other"
    node.WITHHELD = 0.3  # of a step's labels, on average, in such a step


def lseg_head_arguments(cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
    """Constructor arguments of LSeg's head."""
    head, node = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.LSEG
    missing = sorted(set(head.IN_FEATURES) - set(input_shape))
    if missing:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES asks for {missing}, "
            f"the backbone gives {sorted(input_shape)}"
        )
    return {
        "input_shape": {name: input_shape[name] for name in head.IN_FEATURES},
        "channels": head.CONVS_DIM,
        "embedding_channels": node.EMBEDDING_DIM,
        "norm": head.NORM,
        "logit_scale": cosine_factor(cfg, "LSEG"),
        "regularisation": {
            "kind": node.REGULARISATION,
            "depth": node.BLOCK_DEPTH,
            "activation": node.ACTIVATION,
        },
    }


def withholding_arguments(cfg: CfgNode) -> dict[str, float]:
    """How labels are withheld in training."""
    node = cfg.MODEL.LSEG
    return {"probability": node.OTHER_PROB, "share": node.WITHHELD}

"""LSeg's keys, and their translation into constructor arguments; see `freeseg.config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from freeseg.config_keys import cosine_factor

# what timm's ViTs call a size, and our key for it; 0 leaves it as the model's name says
_VIT_SIZES = {
    "img_size": "IMG_SIZE",
    "patch_size": "PATCH_SIZE",
    "embed_dim": "EMBED_DIM",
    "depth": "DEPTH",
    "num_heads": "NUM_HEADS",
}


def add_lseg_keys(cfg: CfgNode) -> None:
    """Adds the sections of LSeg and of its ViT; the release has no yaml, so all are ours."""
    cfg.MODEL.DPT = vit = CfgNode()
    vit.NAME = "vit_large_patch16_384"  # any ViT of timm
    vit.PRETRAINED = False  # let timm download its weights where a training starts
    vit.TAPS = [5, 11, 17, 23]  # blocks after which tokens are read, from 0
    vit.CHANNELS = [256, 512, 1024, 1024]  # of the four maps
    vit.READOUT = "project"  # what becomes of the class token: project, add, ignore
    vit.DROP_PATH_RATE = 0.0
    for key in _VIT_SIZES.values():
        vit[key] = 0
    cfg.MODEL.LSEG = node = CfgNode()
    node.EMBEDDING_DIM = 512  # of a pixel: the text encoder's feature size
    node.TEMPERATURE = 0.07  # cosines are divided by it; a constant
    node.REGULARISATION = "none"  # none, bottleneck, depthwise
    node.BLOCK_DEPTH = 2  # how often the regularisation is applied
    node.ACTIVATION = "lrelu"  # between applications: relu, lrelu, tanh
    node.TEMPLATES = ["{}"]  # sentences around a label; the release encodes it as it is
    node.OTHER_PROB = 0.0  # share of training steps that withhold labels, as "other"
    node.WITHHELD = 0.3  # of a step's labels, on average, in such a step
    cfg.DATASETS.MIX_LABEL_SETS = False  # train sets with different classes, each on its own
    cfg.INPUT.BASE_SIZE = 0  # what large-scale jitter scales, the long side; 0: IMAGE_SIZE


def vit_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of `freeseg.modeling.vit.create_vit`.

    Nothing is downloaded for a model that will get its weights from a checkpoint.
    """
    node = cfg.MODEL.DPT
    starts_training = cfg.MODEL.IS_TRAIN and not cfg.MODEL.WEIGHTS
    sizes = {name: node[key] for name, key in _VIT_SIZES.items() if node[key]}
    if node.DROP_PATH_RATE:
        sizes["drop_path_rate"] = node.DROP_PATH_RATE
    return {"name": node.NAME, "pretrained": node.PRETRAINED and starts_training, **sizes}


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

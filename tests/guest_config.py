"""A project with keys of its own, added as published ones add theirs: whole sections made anew."""

from __future__ import annotations

from detectron2.config import CfgNode, get_cfg
from freeseg import add_freeseg_config

GUEST_KEYS = "MODEL.MASK_FORMER.GUEST_QUERIES", "MODEL.CLIP_ADAPTER.GUEST_DEPTH", "MODEL.GUEST.SIZE"


def add_guest_config(cfg: CfgNode) -> None:
    """Adds the keys of the project: some are freeseg's too, with other defaults or other types."""
    cfg.INPUT.DATASET_MAPPER_NAME = "guest_semantic"
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.5
    cfg.SOLVER.OPTIMIZER = "SGD"
    cfg.WANDB = CfgNode({"PROJECT": "guest", "NAME": None})
    cfg.MODEL.GUEST = CfgNode({"SIZE": 3})
    head = cfg.MODEL.SEM_SEG_HEAD
    head.PIXEL_DECODER_NAME = "GuestPixelDecoder"
    head.MASK_DIM = 64
    head.NUM_HEADS = 2
    cfg.MODEL.MASK_FORMER = node = CfgNode()
    node.GUEST_QUERIES = 7
    node.TRANSFORMER_IN_FEATURE = "res5"
    node.NUM_OBJECT_QUERIES = 50
    node.DROPOUT = 0.2
    node.TEST = CfgNode({"SEMANTIC_ON": False})
    cfg.MODEL.ONE_FORMER = CfgNode({"TRANSFORMER_IN_FEATURE": "res5", "HIDDEN_DIM": 128})
    cfg.MODEL.TEST = CfgNode({"SEMANTIC_ON": False, "TASK": "semantic"})
    cfg.MODEL.TEXT_ENCODER = CfgNode({"WIDTH": 128, "N_CTX": 4})
    cfg.MODEL.SWIN = CfgNode({"DEPTHS": (2, 2, 6, 2), "DROP_RATE": 0})
    cfg.MODEL.CLIP_ADAPTER = adapter = CfgNode()
    adapter.GUEST_DEPTH = 3
    adapter.CLIP_MODEL_NAME = "ViT-L/14"
    adapter.PROMPT_LEARNER = "imagenet"
    adapter.PREDEFINED_PROMPT_TEMPLATES = ("a photo of a {}.",)
    adapter.PROMPT_SHAPE = (16, 0)
    adapter.MASK_THR = 0.4
    adapter.CLIP_ENSEMBLE_WEIGHT = 0.7


def without_defaults(cfg: CfgNode) -> CfgNode:
    """A configuration without the keys of freeseg that have their default."""
    defaults, detectron2 = get_cfg(), get_cfg()
    add_freeseg_config(defaults)
    bare = cfg.clone()
    bare.defrost()
    _remove(bare, defaults, detectron2)
    return bare


def _remove(node: CfgNode, defaults: CfgNode, kept: CfgNode) -> None:
    for key in [key for key in node if key in defaults]:
        if isinstance(node[key], CfgNode):
            _remove(node[key], defaults[key], kept.get(key, CfgNode()))
        if key not in kept and node[key] in (defaults[key], {}):
            del node[key]

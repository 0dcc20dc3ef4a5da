"""FreeSeg's keys, and their translation into constructor arguments; see `freeseg.config`."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from freeseg.config import query_decoder_arguments


def add_freeseg_keys(cfg: CfgNode) -> None:
    """Adds what FreeSeg needs beside the sections of Mask2Former."""
    cfg.DATASETS.SAMPLE_PER_CLASS = -1  # most segments of a class for the prompt stage; -1: all
    cfg.DATASETS.SAMPLE_SEED = 0  # of their choice
    cfg.INPUT.REGION_CROP_AREA = [0.08, 1.0]  # share of a segment's box that a sample of them shows
    head = cfg.MODEL.SEM_SEG_HEAD
    head.EMBEDDING_DIM = 512  # of a query in the space of texts: the text encoder's feature size
    head.EMBED_HIDDEN_DIM = 1024  # inside the net that embeds queries
    head.EMBED_LAYERS = 2
    head.EMB_SIZE = 256  # of the maps that read the texts: equal to CONVS_DIM
    head.EMBED_DIM = 2048  # inside that attention
    head.NUM_HEADS = 8
    head.USE_LAYER_SCALE = True
    cfg.MODEL.CLIP_ADAPTER = node = CfgNode()
    node.CLIP_MODEL_NAME = ""  # an OpenAI CLIP, ViT-B/16; "": what MODEL.TEXT_ENCODER says
    node.PROMPT_LEARNER = "learnable"  # or predefined: the templates
    node.PREDEFINED_PROMPT_TEMPLATES = ["a sculpture of a {}."]
    node.PROMPT_DIM = 512  # token width of the text encoder
    node.PROMPT_SHAPE = [16, 0]  # learned tokens before and behind the class name
    node.TASK_PROMPT_SHAPE = 8  # learned tokens behind the task name
    node.PROMPT_CHECKPOINT = ""  # trained prompts to be used frozen; "": they train along
    node.MASK_FILL = "mean"  # background of a crop, or zero
    node.MASK_EXPAND_RATIO = 1.0
    node.MASK_THR = 0.5
    node.MASK_MATTING = False  # published values only: see `crop_arguments`
    node.REGION_RESIZED = True
    node.SEPERATE_ADAPTER = False  # [sic]
    node.CLIP_ENSEMBLE = True  # classify proposals with the image tower too
    node.CLIP_ENSEMBLE_WEIGHT = 0.8  # of the trained model on classes it has seen
    node.REGION_CLIP_ADAPTER = CfgNode(  # unused, as SEPERATE_ADAPTER is refused
        {
            "CLIP_MODEL_NAME": "ViT-B/16",
            "PROMPT_LEARNER": "predefined",
            "PREDEFINED_PROMPT_TEMPLATES": ["a photo of a {}."],
            "PROMPT_DIM": 512,
            "PROMPT_SHAPE": (16, 0),
            "PROMPT_CHECKPOINT": "",
        }
    )
    cfg.MODEL.FREESEG = ours = CfgNode()
    ours.CONTEXT_INTERACTION = True  # pixels read the texts
    ours.USE_TASK = True  # the task is a part of a learned prompt
    ours.DENSE_LOSS = True  # whole masks, focal loss; False: sampled points, as Mask2Former
    ours.TEMPERATURE = 0.01  # cosines of queries and texts are divided by it; a constant
    ours.MIN_SCORE = 0.5  # how far a thing's class must stand out; a constant of the release
    ours.MIN_PROBABILITY = 0.0  # of a panoptic thing's class; the release keeps all
    ours.REGION_OBJECTNESS = False  # CLIP names a proposal only as far as the model sees an object
    cfg.TEST.PROMPT_TUNING = tuning = CfgNode()
    tuning.ENABLED = False  # adapt the class tokens to each test image
    tuning.STEPS = 1
    tuning.LR = 0.001
    tuning.KEEP_RATIO = 0.3  # share of the proposals, those of lowest entropy
    tuning.PER_DATASET = False  # keep what was learned for the next image


def interaction_arguments(cfg: CfgNode) -> dict[str, Any] | None:
    """Constructor arguments of the semantic context interaction, None where there is none."""
    head = cfg.MODEL.SEM_SEG_HEAD
    if not cfg.MODEL.FREESEG.CONTEXT_INTERACTION:
        return None
    if not head.EMB_SIZE == head.CONVS_DIM == head.MASK_DIM:
        raise ValueError(
            "MODEL.SEM_SEG_HEAD.EMB_SIZE, CONVS_DIM and MASK_DIM must be equal, since one module "
            f"reads all maps; got {head.EMB_SIZE}, {head.CONVS_DIM} and {head.MASK_DIM}"
        )
    return {
        "channels": head.CONVS_DIM,
        "text_channels": head.EMBEDDING_DIM,
        "hidden_channels": head.EMBED_DIM,
        "num_heads": head.NUM_HEADS,
        "layer_scale": head.USE_LAYER_SCALE,
    }


def open_decoder_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the open-vocabulary query decoder.

    Parity: where Mask2Former counts DEC_LAYERS predictions, FreeSeg's release builds as many
    layers, one more.
    """
    head = cfg.MODEL.SEM_SEG_HEAD
    return {
        "sizes": {
            **query_decoder_arguments(cfg),
            "num_layers": cfg.MODEL.MASK_FORMER.DEC_LAYERS,
        },
        "num_queries": cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES,
        "embedding_hidden_channels": head.EMBED_HIDDEN_DIM,
        "embedding_channels": head.EMBEDDING_DIM,
        "num_embedding_layers": head.EMBED_LAYERS,
    }


def learned_prompt_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the learned prompts, without the width."""
    node = cfg.MODEL.CLIP_ADAPTER
    before, behind = node.PROMPT_SHAPE
    return {
        "num_class_tokens": before,
        "num_suffix_tokens": behind,
        "num_task_tokens": node.TASK_PROMPT_SHAPE,
        "uses_task": cfg.MODEL.FREESEG.USE_TASK,
    }


def crop_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the crops of masks."""
    node = cfg.MODEL.CLIP_ADAPTER
    if node.MASK_MATTING or node.SEPERATE_ADAPTER or not node.REGION_RESIZED:
        raise ValueError(
            "MODEL.CLIP_ADAPTER: MASK_MATTING True, SEPERATE_ADAPTER True and REGION_RESIZED False "
            "are not supported; no release uses them"
        )
    if cfg.INPUT.FORMAT != "RGB":
        raise ValueError(f"regions for CLIP need INPUT.FORMAT RGB, got {cfg.INPUT.FORMAT}")
    return {
        "min_probability": node.MASK_THR,
        "fill": node.MASK_FILL,
        "expand_ratio": node.MASK_EXPAND_RATIO,
    }


def tuning_arguments(cfg: CfgNode) -> dict[str, Any] | None:
    """Settings of test-time prompt tuning, None where it is off."""
    node = cfg.TEST.PROMPT_TUNING
    if not node.ENABLED:
        return None
    if cfg.MODEL.CLIP_ADAPTER.PROMPT_LEARNER != "learnable":
        raise ValueError("TEST.PROMPT_TUNING needs MODEL.CLIP_ADAPTER.PROMPT_LEARNER learnable")
    return {
        "num_steps": node.STEPS,
        "learning_rate": node.LR,
        "keep_ratio": node.KEEP_RATIO,
    }

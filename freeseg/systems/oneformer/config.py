"""OneFormer's keys, and their translation into constructor arguments; see `freeseg.config`."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from freeseg.config import inference_section, system_section


def add_one_former_keys(cfg: CfgNode) -> None:
    """Adds the sections of the model, its tests and its texts; MASK_FORMER is there already."""
    cfg.MODEL.ONE_FORMER = node = cfg.MODEL.MASK_FORMER.clone()
    del node["TEST"]  # MODEL.TEST holds what MASK_FORMER.TEST does for the others
    node.CONTRASTIVE_WEIGHT = 0.5  # of the query-text loss; 0: without it and its text encoder
    node.CONTRASTIVE_TEMPERATURE = 0.07  # at the start
    node.CLASS_DEC_LAYERS = 2  # of the transformer that grows queries from the task
    node.NUM_OBJECT_QUERIES = 120  # with the task's own
    node.NUM_OBJECT_CTX = 16  # unused
    node.USE_TASK_NORM = True  # layer norm of the task token, and object queries begin from it
    node.TASK_INIT = True  # False: object queries begin from zeros, whatever USE_TASK_NORM says
    node.TRANSFORMER_DECODER_NAME = "ContrastiveMultiScaleMaskedTransformerDecoder"
    cfg.MODEL.IS_DEMO = False  # unused
    cfg.MODEL.TEST = test = cfg.MODEL.MASK_FORMER.TEST.clone()
    test.DETECTION_ON = False  # evaluate boxes around the instances as well
    test.TASK = "panoptic"
    test.TASK_PER_OUTPUT = True  # False: every output under TASK's token, as the release evaluates
    cfg.MODEL.SEM_SEG_HEAD.SEM_EMBED_DIM = 256  # unused
    cfg.MODEL.SEM_SEG_HEAD.INST_EMBED_DIM = 256  # unused as well
    cfg.INPUT.TASK_SEQ_LEN = 77  # tokens of the task's sentence
    cfg.INPUT.MAX_SEQ_LEN = 77  # tokens of a text
    cfg.WANDB = CfgNode({"PROJECT": "OneFormer", "NAME": None})  # unused
    text = cfg.MODEL.TEXT_ENCODER  # the sizes of the one that is trained along
    text.WIDTH = 256
    text.CONTEXT_LENGTH = 77
    text.NUM_LAYERS = 12
    text.VOCAB_SIZE = 49408
    text.PROJ_NUM_LAYERS = 2
    text.N_CTX = 16  # learned rows beside the texts of an image


def task_query_arguments(cfg: CfgNode) -> dict[str, Any]:
    """What OneFormer's query decoder needs beside `query_decoder_arguments`."""
    node = system_section(cfg)
    if node.ENC_LAYERS:
        raise ValueError(f"ENC_LAYERS of OneFormer's decoder must be 0, got {node.ENC_LAYERS}")
    return {
        "num_queries": node.NUM_OBJECT_QUERIES,
        "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
        "use_task_norm": node.USE_TASK_NORM,
        # Parity: without the norm the release begins from zeros too
        "init_from_task": node.USE_TASK_NORM and node.TASK_INIT,
        "class_transformer": {
            "channels": node.HIDDEN_DIM,
            "num_heads": node.NHEADS,
            "hidden_channels": node.DIM_FEEDFORWARD,
            "num_layers": node.CLASS_DEC_LAYERS,
            "dropout": node.DROPOUT,
            "pre_norm": node.PRE_NORM,
        },
    }


def task_conditioning_arguments(cfg: CfgNode) -> dict[str, Any]:
    """What OneFormer needs to know a task by."""
    channels = system_section(cfg).HIDDEN_DIM
    test = inference_section(cfg)
    return {
        "task_mlp": {
            "in_channels": cfg.INPUT.TASK_SEQ_LEN,
            "hidden_channels": channels,
            "out_channels": channels,
            "num_layers": 2,
        },
        "task_tokens": cfg.INPUT.TASK_SEQ_LEN,
        "text_tokens": cfg.INPUT.MAX_SEQ_LEN,
        "num_queries": system_section(cfg).NUM_OBJECT_QUERIES,
        "single_task": "" if test.TASK_PER_OUTPUT else test.TASK,
    }


def text_mapper_arguments(cfg: CfgNode) -> dict[str, dict[str, Any]]:
    """Constructor arguments of text encoder, projector and context; empty when none is needed.

    Sizes that must agree in training alone are checked there.
    """
    node, system = cfg.MODEL.TEXT_ENCODER, system_section(cfg)
    if not (cfg.MODEL.IS_TRAIN and system.CONTRASTIVE_WEIGHT):
        return {}
    context = {"num_embeddings": node.N_CTX, "embedding_dim": node.WIDTH}
    return {
        "text_encoder": {
            "context_length": node.CONTEXT_LENGTH,
            "channels": node.WIDTH,
            "num_layers": node.NUM_LAYERS,
            "vocabulary_size": node.VOCAB_SIZE,
        },
        "text_projector": {
            "in_channels": node.WIDTH,
            "hidden_channels": system.HIDDEN_DIM,
            "out_channels": system.HIDDEN_DIM,
            "num_layers": node.PROJ_NUM_LAYERS,
        },
        **({"prompt_ctx": context} if node.N_CTX else {}),
    }


def contrastive_arguments(cfg: CfgNode) -> dict[str, Any]:
    """What the contrastive criterion needs beside `criterion_arguments`."""
    node = system_section(cfg)
    return {
        "contrastive_weight": node.CONTRASTIVE_WEIGHT,
        "temperature": node.CONTRASTIVE_TEMPERATURE,
    }

"""The one bridge between Detectron2's CfgNode and constructors.

`add_freeseg_config` adds every key that Mask2Former's published configurations use, under the
published names with the published defaults, and the few of our own. The ``*_arguments``
functions below translate keys into constructor arguments; nothing else reads a CfgNode. All that
do read the `completed` one, since other projects may have made sections anew.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.layers import ShapeSpec
from detectron2.projects.deeplab import add_deeplab_config
from freeseg.config_keys import (
    add_backbone_keys,
    add_engine_keys,
    add_freeseg_keys,
    add_input_keys,
    add_mask_former_keys,
    add_one_former_keys,
    add_one_former_text_keys,
    add_solver_keys,
    add_text_keys,
)
from freeseg.config_lseg import add_lseg_keys
from freeseg.config_unused import add_unused_keys


def add_freeseg_config(cfg: CfgNode) -> None:
    """Adds the keys of this package that a Detectron2 configuration lacks, in place.

    What it has keeps its value and type, so that other projects' keys may be added before or after.

    Raises:
        AttributeError: It lacks keys and is frozen.
    """
    for node, key, default in list(_absent(cfg, _defaults())):
        value = copy.deepcopy(default)
        if isinstance(value, CfgNode):
            value.set_new_allowed(node.is_new_allowed())
        setattr(node, key, value)


def completed(cfg: CfgNode) -> CfgNode:
    """The configuration itself, or a copy with the keys of this package that it lacks.

    It lacks some where a project was added after this package that makes sections of them anew.
    """
    if next(_absent(cfg, _defaults()), None) is None:
        return cfg
    copied = cfg.clone()
    copied.defrost()
    add_freeseg_config(copied)
    if cfg.is_frozen():
        copied.freeze()
    return copied


def _absent(node: CfgNode, defaults: CfgNode) -> Iterator[tuple[CfgNode, str, Any]]:
    """Sections of a configuration, and the keys that they lack with their defaults."""
    for key, default in defaults.items():
        if key not in node:
            yield node, key, default
        elif isinstance(default, dict) and isinstance(node[key], dict):
            yield from _absent(node[key], default)


@functools.cache
def _defaults() -> CfgNode:
    cfg = get_cfg()
    add_deeplab_config(cfg)
    add_input_keys(cfg)
    add_solver_keys(cfg)
    add_mask_former_keys(cfg)
    add_one_former_keys(cfg)
    add_backbone_keys(cfg)
    add_engine_keys(cfg)
    add_text_keys(cfg)
    add_one_former_text_keys(cfg)
    add_freeseg_keys(cfg)
    add_lseg_keys(cfg)
    add_unused_keys(cfg)
    return cfg


# Heads whose published configurations keep the system's keys elsewhere than in MODEL.MASK_FORMER
# and MODEL.MASK_FORMER.TEST.
_ONE_FORMER_HEADS = ("OneFormerHead", "freeseg.OneFormerHead")


def system_node(cfg: CfgNode) -> CfgNode:
    """The section of the query decoder and its losses: MODEL.MASK_FORMER or MODEL.ONE_FORMER."""
    cfg = completed(cfg)
    is_one_former = cfg.MODEL.SEM_SEG_HEAD.NAME in _ONE_FORMER_HEADS
    return cfg.MODEL.ONE_FORMER if is_one_former else cfg.MODEL.MASK_FORMER


def test_node(cfg: CfgNode) -> CfgNode:
    """The section of inference: MODEL.MASK_FORMER.TEST or MODEL.TEST."""
    cfg = completed(cfg)
    is_one_former = cfg.MODEL.SEM_SEG_HEAD.NAME in _ONE_FORMER_HEADS
    return cfg.MODEL.TEST if is_one_former else cfg.MODEL.MASK_FORMER.TEST


def pixel_decoder_arguments(cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
    """Constructor arguments of the MSDeformAttn pixel decoder.

    Parity: the releases read DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS and N_HEADS nowhere; heads
    come from MASK_FORMER.NHEADS and points are 4. Their configurations hold equal values, so
    reading N_POINTS changes no published model.
    """
    cfg = completed(cfg)
    head = cfg.MODEL.SEM_SEG_HEAD
    missing = sorted(set(head.IN_FEATURES) - set(input_shape))
    if missing:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES asks for {missing}, "
            f"the backbone gives {sorted(input_shape)}"
        )
    return {
        "input_shape": {name: input_shape[name] for name in head.IN_FEATURES},
        "encoder_features": tuple(head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES),
        "channels": head.CONVS_DIM,
        "mask_channels": head.MASK_DIM,
        "norm": head.NORM,
        "common_stride": head.COMMON_STRIDE,
        "encoder": {
            "hidden_channels": head.TRANSFORMER_ENC_DIM_FEEDFORWARD,
            "dropout": system_node(cfg).DROPOUT,
            "num_heads": system_node(cfg).NHEADS,
            "num_layers": head.TRANSFORMER_ENC_LAYERS,
            "num_points": head.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS,
        },
    }


def query_decoder_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the masked query decoder."""
    cfg = completed(cfg)
    node = system_node(cfg)
    if node.DEC_LAYERS < 1:
        raise ValueError(
            f"DEC_LAYERS of the query decoder must be at least 1, got {node.DEC_LAYERS}"
        )
    return {
        "in_channels": cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM,
        "channels": node.HIDDEN_DIM,
        "mask_channels": cfg.MODEL.SEM_SEG_HEAD.MASK_DIM,
        "num_heads": node.NHEADS,
        "hidden_channels": node.DIM_FEEDFORWARD,
        "num_layers": node.DEC_LAYERS - 1,
        "pre_norm": node.PRE_NORM,
        "enforce_input_projection": node.ENFORCE_INPUT_PROJ,
    }


def task_query_arguments(cfg: CfgNode) -> dict[str, Any]:
    """What OneFormer's query decoder needs beside `query_decoder_arguments`."""
    node = system_node(cfg)
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
    cfg = completed(cfg)
    channels = system_node(cfg).HIDDEN_DIM
    test = test_node(cfg)
    return {
        "task_mlp": {
            "in_channels": cfg.INPUT.TASK_SEQ_LEN,
            "hidden_channels": channels,
            "out_channels": channels,
            "num_layers": 2,
        },
        "task_tokens": cfg.INPUT.TASK_SEQ_LEN,
        "text_tokens": cfg.INPUT.MAX_SEQ_LEN,
        "num_queries": system_node(cfg).NUM_OBJECT_QUERIES,
        "single_task": "" if test.TASK_PER_OUTPUT else test.TASK,
    }


def text_mapper_arguments(cfg: CfgNode) -> dict[str, dict[str, Any]]:
    """Constructor arguments of text encoder, projector and context; empty when none is needed.

    Sizes that must agree in training alone are checked there.
    """
    cfg = completed(cfg)
    node, system = cfg.MODEL.TEXT_ENCODER, system_node(cfg)
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
    node = system_node(cfg)
    return {
        "contrastive_weight": node.CONTRASTIVE_WEIGHT,
        "temperature": node.CONTRASTIVE_TEMPERATURE,
    }


def criterion_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the set criterion and its matcher."""
    node = system_node(cfg)
    return {
        "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
        "weights": {
            "loss_ce": node.CLASS_WEIGHT,
            "loss_mask": node.MASK_WEIGHT,
            "loss_dice": node.DICE_WEIGHT,
        },
        "no_object_weight": node.NO_OBJECT_WEIGHT,
        "num_points": node.TRAIN_NUM_POINTS,
        "oversample_ratio": node.OVERSAMPLE_RATIO,
        "importance_sample_ratio": node.IMPORTANCE_SAMPLE_RATIO,
        "deep_supervision": node.DEEP_SUPERVISION,
    }


def interaction_arguments(cfg: CfgNode) -> dict[str, Any] | None:
    """Constructor arguments of the semantic context interaction, None where there is none."""
    cfg = completed(cfg)
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
    cfg = completed(cfg)
    head = cfg.MODEL.SEM_SEG_HEAD
    return {
        **query_decoder_arguments(cfg),
        "num_layers": cfg.MODEL.MASK_FORMER.DEC_LAYERS,
        "num_queries": cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES,
        "embedding_hidden_channels": head.EMBED_HIDDEN_DIM,
        "embedding_channels": head.EMBEDDING_DIM,
        "num_embedding_layers": head.EMBED_LAYERS,
    }


def learned_prompt_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the learned prompts, without the width."""
    cfg = completed(cfg)
    node = cfg.MODEL.CLIP_ADAPTER
    before, behind = node.PROMPT_SHAPE
    return {
        "num_class_tokens": before,
        "num_suffix_tokens": behind,
        "num_task_tokens": node.TASK_PROMPT_SHAPE,
        "uses_task": cfg.MODEL.FREESEG.USE_TASK,
    }


def region_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the region crops."""
    cfg = completed(cfg)
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
    cfg = completed(cfg)
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


def training_tasks(cfg: CfgNode) -> tuple[str, ...]:
    """Tasks that steps are drawn from: the first words of INPUT.TASK_NAME."""
    cfg = completed(cfg)
    return tuple(name.split()[0] for name in cfg.INPUT.TASK_NAME)


def choose_test_datasets(cfg: CfgNode) -> None:
    """Evaluates on OneFormer's panoptic sets, which serve all three tasks, where none is named."""
    if not cfg.DATASETS.TEST:
        cfg.DATASETS.TEST = tuple(name for name in completed(cfg).DATASETS.TEST_PANOPTIC if name)


def sliding_window_arguments(cfg: CfgNode) -> dict[str, Any] | None:
    """Constructor arguments of the sliding window, None where it is off."""
    cfg = completed(cfg)
    node = cfg.TEST.AUG
    if not node.IS_SLIDE:
        return None
    return {"window": node.CROP_SIZE, "stride": node.STRIDE, "tasks": default_tasks(cfg)}


def augmentation_arguments(cfg: CfgNode) -> dict[str, Any] | None:
    """Constructor arguments of the test-time augmentation, None where it is off."""
    node = cfg.TEST.AUG
    if not node.ENABLED:
        return None
    return {"min_sizes": node.MIN_SIZES, "max_size": node.MAX_SIZE, "flip": node.FLIP}


def default_tasks(cfg: CfgNode) -> tuple[str, ...]:
    """Tasks that a model answers when the caller names none."""
    test = test_node(cfg)
    switches = {
        "semantic": test.SEMANTIC_ON,
        "instance": test.INSTANCE_ON,
        "panoptic": test.PANOPTIC_ON,
    }
    return tuple(task for task, is_on in switches.items() if is_on)


def assembly_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the post-processing.

    Masks are resized before pixels are scored when the configuration says so, and always when
    the model is configured for instances or panoptics (as the releases do).
    """
    test = test_node(cfg)
    return {
        "min_score": test.OBJECT_MASK_THRESHOLD,
        "min_visible_share": test.OVERLAP_THRESHOLD,
        "min_area": test.MIN_AREA,
        "max_instances": cfg.TEST.DETECTIONS_PER_IMAGE,
        "resize_masks_first": bool(
            test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE or test.PANOPTIC_ON or test.INSTANCE_ON
        ),
    }

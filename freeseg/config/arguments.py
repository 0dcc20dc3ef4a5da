"""Keys become constructor arguments: of the parts that several systems share.

All read the `completed` configuration, since other projects may have made sections anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from freeseg.config.completion import completed
from freeseg.config.sections import inference_section, system_section
from freeseg.structures import EverythingSettings

# what timm's ViTs call a size, and our key for it; 0 leaves it as the model's name says
_VIT_SIZES = {
    "img_size": "IMG_SIZE",
    "patch_size": "PATCH_SIZE",
    "embed_dim": "EMBED_DIM",
    "depth": "DEPTH",
    "num_heads": "NUM_HEADS",
}


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
            "dropout": system_section(cfg).DROPOUT,
            "num_heads": system_section(cfg).NHEADS,
            "num_layers": head.TRANSFORMER_ENC_LAYERS,
            "num_points": head.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS,
        },
    }


def query_decoder_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the masked query decoder."""
    cfg = completed(cfg)
    node = system_section(cfg)
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


def criterion_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of the set criterion and its matcher."""
    node = system_section(cfg)
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


def cosine_factor(cfg: CfgNode, section: str) -> float:
    """Factor of the cosines of MODEL's `section`: the inverse of its TEMPERATURE.

    Raises:
        ValueError: When it is not positive.
    """
    temperature = cfg.MODEL[section].TEMPERATURE
    if temperature <= 0:
        raise ValueError(f"MODEL.{section}.TEMPERATURE must be positive, got {temperature}")
    return 1 / float(temperature)


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


def pointing_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of `freeseg.evaluation.pointing.PointingSettings`."""
    node = completed(cfg).TEST.POINTING
    everything = EverythingSettings(
        points_per_side=node.POINTS_PER_SIDE,
        min_quality=node.MIN_QUALITY,
        min_stability=node.MIN_STABILITY,
        max_overlap=node.MAX_OVERLAP,
    )
    return {
        "kinds": tuple(node.KINDS),
        "max_clicks": node.MAX_CLICKS,
        "box_rounds": node.BOX_ROUNDS,
        "box_zoom": node.BOX_ZOOM,
        "objects_at_once": node.OBJECTS_AT_ONCE,
        "everything": everything,
    }


def default_tasks(cfg: CfgNode) -> tuple[str, ...]:
    """Tasks that a model answers when the caller names none."""
    test = inference_section(cfg)
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
    test = inference_section(cfg)
    return {
        "min_score": test.OBJECT_MASK_THRESHOLD,
        "min_visible_share": test.OVERLAP_THRESHOLD,
        "min_area": test.MIN_AREA,
        "max_instances": cfg.TEST.DETECTIONS_PER_IMAGE,
        "resize_masks_first": bool(
            test.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE or test.PANOPTIC_ON or test.INSTANCE_ON
        ),
    }

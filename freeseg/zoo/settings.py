"""What a model's configuration says of it in a few words, and where each of them is from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.checkpoints import hugging_face_origins
from freeseg.classes import trained_vocabulary
from freeseg.config import default_tasks, inference_section
from freeseg.data import register_custom
from freeseg.inference.input_size import InputSize
from freeseg.names import plain_name, registered
from freeseg.structures import Task, answered_tasks
from freeseg.systems import paper_name
from freeseg.zoo.resolution import ModelFiles
from freeseg_command.catalog import ModelCard


def describe_settings(found: ModelFiles, cfg: CfgNode) -> dict[str, dict[str, Any]]:
    """Returns {"system", "backbone", "classes", "things", "input", "thresholds"} of a model.

    Each has "value", and "from", where it is said. Classes and things are left out where nobody
    names them on this machine, thresholds where the system has none.
    """
    origins = _origins(found, cfg)
    values = {
        "system": paper_name(cfg.MODEL.META_ARCHITECTURE),
        "backbone": describe_backbone(cfg),
        **_classes(cfg),
        "input": f"{InputSize.from_config(cfg)}{_pixels(cfg)}",
        "thresholds": _thresholds(cfg),
    }
    return {
        key: {"value": value, "from": origins[key]} for key, value in values.items() if value != ""
    }


def describe_backbone(cfg: CfgNode) -> str:
    """Returns the backbone and its size in words; its registered name where it is not known."""
    system, name = map(plain_name, (cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.BACKBONE.NAME))
    known = _BACKBONES.get(system, _BACKBONES.get(name))  # some systems have an encoder of theirs
    return name if known is None else known(cfg.MODEL)


_BACKBONES: Mapping[str, Callable[[CfgNode], str]] = {
    "build_resnet_backbone": lambda model: f"ResNet-{model.RESNETS.DEPTH}",
    "build_resnet_deeplab_backbone": lambda model: f"ResNet-{model.RESNETS.DEPTH}c",
    "D2SwinTransformer": lambda model: (
        f"Swin, {model.SWIN.EMBED_DIM} channels, depths {_dashed(model.SWIN.DEPTHS)}"
    ),
    "D2ConvNeXt": lambda model: (
        f"ConvNeXt, {model.CONVNEXT.DIMS[0]} channels, depths {_dashed(model.CONVNEXT.DEPTHS)}"
    ),
    "D2DiNAT": lambda model: (
        f"DiNAT, {model.DiNAT.EMBED_DIM} channels, depths {_dashed(model.DiNAT.DEPTHS)}"
    ),
    "SAM": lambda model: _SAM_ENCODERS[model.SAM.ENCODER](model),
    "SegGPT": lambda model: f"ViT, {model.SEGGPT.EMBED_DIM} channels, {model.SEGGPT.DEPTH} blocks",
    "TimmBackbone": lambda model: f"{model.TIMM.NAME} of timm",
    "DPTBackbone": lambda model: f"{model.DPT.NAME} of timm, as DPT takes it",
}


_SAM_ENCODERS: Mapping[str, Callable[[CfgNode], str]] = {
    "vit": lambda model: f"ViT, {model.SAM.VIT.EMBED_DIM} channels, {model.SAM.VIT.DEPTH} blocks",
    "tiny_vit": lambda model: f"TinyViT, depths {_dashed(model.SAM.TINY_VIT.DEPTHS)}",
    "pyramid": lambda model: _BACKBONES[plain_name(model.BACKBONE.NAME)](model),
}


def _dashed(numbers: Any) -> str:
    return "-".join(map(str, numbers))


def _classes(cfg: CfgNode) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):  # the dataset need not be on this machine
        register_custom(cfg.DATASETS.CUSTOM)
    vocabulary = trained_vocabulary(cfg)
    if vocabulary is None:
        return {"classes": "", "things": ""}
    return {"classes": list(vocabulary.names), "things": sum(vocabulary.is_thing)}


def _pixels(cfg: CfgNode) -> str:
    """What is not done to the numbers of pixels, which other models have for granted."""
    mean, deviation = cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
    notes = ", not normalised" if not any(mean) and len(set(deviation)) == 1 else ""
    # statistics of numbers up to 1, for numbers up to 255
    return notes + (", not rescaled to 0..1" if max(*mean, *deviation) <= 1 else "")


def _thresholds(cfg: CfgNode) -> str:
    system = registered(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE)
    if not {Task.INSTANCE, Task.PANOPTIC} & set(answered_tasks(system)):
        return ""
    test, is_on = inference_section(cfg), default_tasks(cfg)
    area = f", from {test.MIN_AREA} pixels on" if test.MIN_AREA else ""
    segments = (
        f"panoptic segments of a score above {test.OBJECT_MASK_THRESHOLD:g} that show "
        f"{test.OVERLAP_THRESHOLD:.0%} of themselves or more{area}"
    )
    instances = f"the {cfg.TEST.DETECTIONS_PER_IMAGE} best instances"
    of_task = {"panoptic": segments, "instance": instances}
    return "; ".join(text for task, text in of_task.items() if task in is_on)


def _origins(found: ModelFiles, cfg: CfgNode) -> dict[str, str]:
    weights = Path(found.weights or "")
    folder = weights if weights.is_dir() else weights.parent
    datasets = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    if (folder / "config.json").is_file() and not (folder / "config.yaml").is_file():
        port = {"system": "config.json", "backbone": "config.json", **hugging_face_origins(folder)}
        return {**port, **_published(found.card)}
    config = found.config if isinstance(found.config, str) else folder / "config.yaml"
    name = (found.card and (found.card.config or found.card.settings)) or Path(config).name
    whose = f"dataset {datasets[0]}" if datasets else ""
    if cfg.MODEL.CLASSES:
        whose = Path(cfg.MODEL.CLASSES).name
    return {
        **dict.fromkeys(("system", "backbone", "input", "thresholds"), name),
        **dict.fromkeys(("classes", "things"), whose),
    }


def _published(card: ModelCard | None) -> dict[str, str]:
    if card is None or not card.settings:
        return {}
    return dict.fromkeys(("input", "thresholds"), card.settings)

"""The configuration of a model in Hugging Face's folder layout, from its config.json."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg
from freeseg.checkpoints.hugging_face_labels import OWN_CLASSES, Labels, read_labels
from freeseg.checkpoints.hugging_face_processor import read_processor
from freeseg.checkpoints.json_object import read_json_object
from freeseg.checkpoints.reason import reason_of
from freeseg.config import add_freeseg_config
from freeseg.structures import CLASSES_FILE

logger = logging.getLogger(__name__)

Settings = Callable[[Mapping[str, Any]], dict[str, Any]]

_ports: dict[str, tuple[Settings, str]] = {}
_WORDS = ("tokenizer.json", "vocab.txt")

_RESNET_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


# Thresholds of panoptic segments. The releases' belong to their datasets; who trained on classes of
# their own has seen results by the defaults of the port's post-processing.
_RELEASED = {"OBJECT_MASK_THRESHOLD": 0.8, "OVERLAP_THRESHOLD": 0.8}
_PORTS = {"OBJECT_MASK_THRESHOLD": 0.5, "OVERLAP_THRESHOLD": 0.8}


def register_port(kind: str, settings: Settings, test_section: str = "") -> None:
    """Makes folders of a port readable.

    Args:
        kind: The ``model_type`` in their config.json.
        settings: The keys and values of the system, of what is in config.json.
        test_section: Of the Mask2Former family, the section with the keys of inference: its
            backbone, classes and image processor are read too. "": `settings` says all.
    """
    _ports[kind] = (settings, test_section)


def config_from_hugging_face(folder: Path) -> CfgNode:
    """A configuration that builds the model whose config.json is in `folder`.

    Photos are resized and normalised as the folder's image processor does it.

    Raises:
        ValueError: When it is a model or a backbone that is not known here, or a file of the
            folder lacks or contradicts something; one line says what.
    """
    file, port, kind = _read_port(folder)
    settings, test_section = _ports[kind]
    if not test_section:
        cfg = _config_of(file, port, lambda: settings(port))
        cfg.MODEL.WEIGHTS = str(folder)
        if any((folder / name).is_file() for name in _WORDS):
            cfg.MODEL.TEXT_ENCODER.WEIGHTS = str(folder)  # of systems that read texts
        return cfg
    processor = read_processor(folder, kind)
    labels = read_labels(folder, port, processor)
    if labels.doubts():
        logger.warning("%s %s; %s beside it can say", file, labels.doubts(), CLASSES_FILE)
    cfg = _config_of(
        file,
        port,
        lambda: {
            **_common(port),
            **settings(port),
            **_backbone(port["backbone_config"]),
            **_inference(test_section, labels),
        },
    )
    train, test = labels.register(f"{OWN_CLASSES}{folder.resolve()}")
    cfg.merge_from_list(_flatten(processor.config()))
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(labels.names)
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (train,), (test,)
    if kind == "oneformer" or labels.datasets is None:  # else Detectron2's 100, as released
        cfg.TEST.DETECTIONS_PER_IMAGE = port["num_queries"]
    cfg.MODEL.WEIGHTS = str(folder)
    return cfg


def hugging_face_origins(folder: Path) -> dict[str, str]:
    """Where the "classes", "things", "input" and "thresholds" of a folder are from."""
    _, port, kind = _read_port(folder)
    if not _ports[kind][1]:
        return {"input": "config.json"}
    processor = read_processor(folder, kind)
    labels = read_labels(folder, port, processor)
    return {
        "classes": labels.names_from,
        "things": labels.things_from or "the port: nothing says which are things",
        "input": processor.source,
        "thresholds": "the release of these classes"
        if labels.datasets
        else "defaults of the port's post-processing",
    }


def _read_port(folder: Path) -> tuple[Path, dict[str, Any], str]:
    """Returns config.json, what is in it, and the kind of its model."""
    file = folder / "config.json"
    port = read_json_object(file)
    kind = port.get("model_type")
    if kind not in _ports:
        said = f"describes a {kind!r}" if kind else "has no model_type"
        raise ValueError(
            f"{file} {said}, known are {' and '.join(_ports)}; name a folder of one of "
            "these, or a model that `freeseg models` lists"
        )
    return file, port, str(kind)


def _config_of(
    file: Path, port: Mapping[str, Any], values_of: Callable[[], dict[str, Any]]
) -> CfgNode:
    """The defaults with what config.json says; its mistakes are named."""
    try:
        values = values_of()
        cfg = get_cfg()
        add_freeseg_config(cfg)
        empty = [key for key, value in values.items() if value is None]
        if empty:  # a CfgNode would take it
            raise ValueError(f"null for {empty[0]}")
        cfg.merge_from_list(_flatten(values))
    except KeyError as error:
        raise ValueError(f"{file} lacks {_with_look_alike(str(error.args[0]), port)}") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{file} has an unexpected value: {reason_of(error)}") from error
    return cfg


def _with_look_alike(key: str, port: Mapping[str, Any]) -> str:
    """The name of a key that is not there, and of one that may be meant to be it."""
    near = difflib.get_close_matches(key, port, n=1)
    return f"{key!r}" + (f" (it has {near[0]!r})" if near else "")


def _common(port: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.SEM_SEG_HEAD.NORM": "GN",
        "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": port["encoder_layers"],
        "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_DIM_FEEDFORWARD": port["encoder_feedforward_dim"],
        "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": port["common_stride"],
    }


def port_decoder(port: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Keys and values of a section of the query decoder and its losses."""
    keys = {
        "NHEADS": "num_attention_heads",
        "DIM_FEEDFORWARD": "dim_feedforward",
        "HIDDEN_DIM": "hidden_dim",
        "NUM_OBJECT_QUERIES": "num_queries",
        "DEC_LAYERS": "decoder_layers",
        "PRE_NORM": "pre_norm",
        "DROPOUT": "dropout",
        "NO_OBJECT_WEIGHT": "no_object_weight",
        "CLASS_WEIGHT": "class_weight",
        "MASK_WEIGHT": "mask_weight",
        "DICE_WEIGHT": "dice_weight",
        "TRAIN_NUM_POINTS": "train_num_points",
        "OVERSAMPLE_RATIO": "oversample_ratio",
        "IMPORTANCE_SAMPLE_RATIO": "importance_sample_ratio",
    }
    return {f"{section}.{key}": port[name] for key, name in keys.items()}


def _inference(section: str, labels: Labels) -> dict[str, Any]:
    return {
        f"{section}.SEMANTIC_ON": True,
        f"{section}.INSTANCE_ON": True,
        f"{section}.PANOPTIC_ON": True,
        **{
            f"{section}.{key}": value
            for key, value in (_RELEASED if labels.datasets else _PORTS).items()
        },
    }


def _backbone(port: Mapping[str, Any]) -> dict[str, Any]:
    kind = port["model_type"]
    if kind == "swin":
        keys = {
            "PRETRAIN_IMG_SIZE": "image_size",
            "PATCH_SIZE": "patch_size",
            "EMBED_DIM": "embed_dim",
            "DEPTHS": "depths",
            "NUM_HEADS": "num_heads",
            "WINDOW_SIZE": "window_size",
            "MLP_RATIO": "mlp_ratio",
            "QKV_BIAS": "qkv_bias",
            "DROP_PATH_RATE": "drop_path_rate",
            "APE": "use_absolute_embeddings",
        }
        sizes = {f"MODEL.SWIN.{key}": port[name] for key, name in keys.items()}
        return {"MODEL.BACKBONE.NAME": "D2SwinTransformer", **sizes}
    if kind == "resnet":
        depths, widths = tuple(port["depths"]), list(port["hidden_sizes"])
        doubled = [widths[0] * 2**stage for stage in range(4)]
        is_known = port["layer_type"] == "bottleneck" and depths in _RESNET_DEPTHS
        if not is_known or widths != doubled:
            raise ValueError(
                f"wanted a ResNet of layer_type bottleneck with depths "
                f"{' or '.join(map(_dashed, _RESNET_DEPTHS))} and hidden_sizes that double, got "
                f"{port['layer_type']} with {_dashed(depths)} and {_dashed(widths)}"
            )
        return {
            "MODEL.BACKBONE.NAME": "build_resnet_backbone",
            "MODEL.BACKBONE.FREEZE_AT": 0,
            "MODEL.RESNETS.DEPTH": _RESNET_DEPTHS[depths],
            "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
            "MODEL.RESNETS.STEM_OUT_CHANNELS": port["embedding_size"],
            "MODEL.RESNETS.RES2_OUT_CHANNELS": widths[0],
            "MODEL.RESNETS.WIDTH_PER_GROUP": widths[0] // 4,
            "MODEL.RESNETS.STRIDE_IN_1X1": port["downsample_in_bottleneck"],
        }
    raise ValueError(f"wanted a swin or a resnet as backbone_config, got {kind!r}")


def _dashed(numbers: Iterable[int]) -> str:
    return "-".join(map(str, numbers))


def _flatten(values: Mapping[str, Any]) -> list[Any]:
    return [item for pair in values.items() for item in pair]

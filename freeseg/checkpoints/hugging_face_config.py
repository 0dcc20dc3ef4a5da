"""The configuration of a model in Hugging Face's folder layout, from its config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog
from freeseg.config import add_freeseg_config
from freeseg.structures import Vocabulary

# Datasets whose things are known here, by their number of classes: the ports keep names only.
_DATASETS = {
    19: "cityscapes_fine_panoptic",
    65: "mapillary_vistas_panoptic",
    133: "coco_2017",
    150: "ade20k_panoptic",
}
_SPLITS = {"coco_2017": "coco_2017_{}_panoptic"}
# of a class list are enough: the ports call some classes by another of their words
_MIN_SAME_NAMES = 0.5
_RESNET_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


def config_from_hugging_face(folder: Path) -> CfgNode:
    """A configuration that builds the model whose config.json is in `folder`.

    Raises:
        ValueError: When it is a model or a backbone that is not known here.
    """
    port = json.loads((folder / "config.json").read_text())
    kind = port.get("model_type")
    if kind not in _SYSTEMS:
        raise ValueError(
            f"{folder / 'config.json'} describes a {kind!r}, known are {sorted(_SYSTEMS)}"
        )
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_list(_flatten(_common(port)))
    cfg.merge_from_list(_flatten(_SYSTEMS[kind](port)))
    cfg.merge_from_list(_flatten(_backbone(port["backbone_config"])))
    cfg.merge_from_list(_flatten(_classes(port, folder)))
    cfg.merge_from_list(_flatten(_pixels(folder)))
    cfg.MODEL.WEIGHTS = str(folder)
    return cfg


def _common(port: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": len(port["id2label"]),
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.SEM_SEG_HEAD.NORM": "GN",
        "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": port["encoder_layers"],
        "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_DIM_FEEDFORWARD": port["encoder_feedforward_dim"],
        "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": port["common_stride"],
    }


def _decoder(port: Mapping[str, Any], section: str) -> dict[str, Any]:
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


def _inference(section: str) -> dict[str, Any]:
    return {
        f"{section}.SEMANTIC_ON": True,
        f"{section}.INSTANCE_ON": True,
        f"{section}.PANOPTIC_ON": True,
        f"{section}.OVERLAP_THRESHOLD": 0.8,
        f"{section}.OBJECT_MASK_THRESHOLD": 0.8,
    }


def _mask2former(port: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "MODEL.META_ARCHITECTURE": "MaskFormer",
        "MODEL.SEM_SEG_HEAD.NAME": "MaskFormerHead",
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": port["feature_size"],
        "MODEL.SEM_SEG_HEAD.MASK_DIM": port["mask_feature_size"],
        "MODEL.MASK_FORMER.ENFORCE_INPUT_PROJ": port["enforce_input_projection"],
        **_decoder(port, "MODEL.MASK_FORMER"),
        **_inference("MODEL.MASK_FORMER.TEST"),
    }


def _oneformer(port: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "MODEL.META_ARCHITECTURE": "OneFormer",
        "MODEL.SEM_SEG_HEAD.NAME": "OneFormerHead",
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": port["conv_dim"],
        "MODEL.SEM_SEG_HEAD.MASK_DIM": port["mask_dim"],
        "MODEL.ONE_FORMER.ENFORCE_INPUT_PROJ": port["enforce_input_proj"],
        "MODEL.ONE_FORMER.CLASS_DEC_LAYERS": port["query_dec_layers"],
        "MODEL.ONE_FORMER.USE_TASK_NORM": port["use_task_norm"],
        "MODEL.ONE_FORMER.CONTRASTIVE_WEIGHT": port["contrastive_weight"],
        "MODEL.ONE_FORMER.CONTRASTIVE_TEMPERATURE": port["contrastive_temperature"],
        "MODEL.IS_TRAIN": port["is_training"],
        "MODEL.TEXT_ENCODER.WIDTH": port["text_encoder_width"],
        "MODEL.TEXT_ENCODER.NUM_LAYERS": port["text_encoder_num_layers"],
        "MODEL.TEXT_ENCODER.CONTEXT_LENGTH": port["text_encoder_context_length"],
        "MODEL.TEXT_ENCODER.VOCAB_SIZE": port["text_encoder_vocab_size"],
        "MODEL.TEXT_ENCODER.PROJ_NUM_LAYERS": port["text_encoder_proj_layers"],
        "MODEL.TEXT_ENCODER.N_CTX": port["text_encoder_n_ctx"],
        "INPUT.TASK_SEQ_LEN": port["task_seq_len"],
        **_decoder(port, "MODEL.ONE_FORMER"),
        **_inference("MODEL.TEST"),
    }


_SYSTEMS = {"mask2former": _mask2former, "oneformer": _oneformer}


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
    depths = tuple(port.get("depths", ()))
    if kind == "resnet" and port["layer_type"] == "bottleneck" and depths in _RESNET_DEPTHS:
        return {
            "MODEL.BACKBONE.NAME": "build_resnet_backbone",
            "MODEL.BACKBONE.FREEZE_AT": 0,
            "MODEL.RESNETS.DEPTH": _RESNET_DEPTHS[depths],
            "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
            "MODEL.RESNETS.STEM_OUT_CHANNELS": port["embedding_size"],
            "MODEL.RESNETS.RES2_OUT_CHANNELS": port["hidden_sizes"][0],
            "MODEL.RESNETS.WIDTH_PER_GROUP": port["hidden_sizes"][0] // 4,
            "MODEL.RESNETS.STRIDE_IN_1X1": port["downsample_in_bottleneck"],
        }
    raise ValueError(
        f"wanted a Swin or a ResNet with bottlenecks as backbone, got {kind!r} with depths {depths}"
    )


def _classes(port: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    names = [port["id2label"][str(index)] for index in range(len(port["id2label"]))]
    known = _DATASETS.get(len(names))
    if known is not None:
        pattern = _SPLITS.get(known, known + "_{}")
        train, test = pattern.format("train"), pattern.format("val")
        if _are_classes_of(test, names):
            return {"DATASETS.TRAIN": (train,), "DATASETS.TEST": (test,)}
    dataset = f"classes of {folder.resolve()}"
    MetadataCatalog.pop(dataset, None)
    MetadataCatalog.get(dataset).set(stuff_classes=names)
    return {"DATASETS.TRAIN": (dataset,), "DATASETS.TEST": (dataset,)}


def _are_classes_of(dataset: str, names: list[str]) -> bool:
    """Whether most names are those of a dataset at the same places, up to synonyms."""
    vocabulary = Vocabulary.of_dataset(MetadataCatalog.get(dataset))
    if vocabulary is None:
        return False
    same = [_first_word(a) == _first_word(b) for a, b in zip(names, vocabulary.names)]
    return sum(same) >= _MIN_SAME_NAMES * len(names)


def _first_word(name: str) -> str:
    """A name without its synonyms: "road, route" -> "road"."""
    return name.split(",")[0].strip().lower()


def _pixels(folder: Path) -> dict[str, Any]:
    """Image statistics of preprocessor_config.json, ImageNet's where there is none."""
    file = folder / "preprocessor_config.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    mean = known.get("image_mean", [0.485, 0.456, 0.406])
    deviation = known.get("image_std", [0.229, 0.224, 0.225])
    scale = 1 / known.get("rescale_factor", 1 / 255)
    return {
        "INPUT.FORMAT": "RGB",
        "MODEL.PIXEL_MEAN": [value * scale for value in mean],
        "MODEL.PIXEL_STD": [value * scale for value in deviation],
    }


def _flatten(values: Mapping[str, Any]) -> list[Any]:
    return [item for pair in values.items() for item in pair]

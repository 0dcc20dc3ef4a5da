"""Names of Grounding DINO's weights elsewhere, and the settings of Hugging Face's ports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from freeseg.checkpoints import KeyMap
from freeseg.checkpoints.hugging_face import SWIN_RENAMES, fuse_projections
from freeseg.checkpoints.key_map import Renaming, State

_BOX_HEADS = re.compile(r"decoder\.bbox_embed\.(\d+)\.(.*)")

_RELEASE: tuple[Renaming, ...] = (
    (r"^module\.", ""),
    (r"^backbone\.0\.", "backbone."),
    (r"^bert\.", "text_side.encoder.bert."),
    (r"^feat_map\.", "text_side.projection."),
    (r"^input_proj\.", "levels.input_proj."),
    (r"^transformer\.level_embed", "levels.level_embed"),
    (r"^transformer\.encoder\.", "enhancer."),
    (r"^transformer\.decoder\.", "decoder."),
    (
        r"^transformer\.(tgt_embed|enc_output|enc_output_norm|enc_out_bbox_embed)\.",
        r"selection.\1.",
    ),
)


def _share_box_heads(state: State) -> State:
    """Keeps one head for boxes where all layers have the same."""
    found = {key: _BOX_HEADS.fullmatch(key) for key in state}
    heads = {key: match for key, match in found.items() if match}
    are_one = all(
        torch.equal(state[key], state[f"decoder.bbox_embed.0.{match[2]}"])
        for key, match in heads.items()
    )
    return {
        key: value
        for key, value in state.items()
        if not (are_one and key in heads and heads[key][1] != "0")
    }


RELEASE = KeyMap(
    "IDEA-Research/GroundingDINO",
    renames=_RELEASE,
    drops=(
        r"(module\.)?label_enc\..*",  # of training with denoising
        r"(module\.)?bert\.embeddings\.position_ids",
        r"(module\.)?bert\.pooler\..*",  # which nothing reads
        r"(module\.)?bbox_embed\..*",  # the decoder's once more
    ),
    combine=_share_box_heads,
    mark=r"(module\.)?(transformer\.enc_out_bbox_embed|feat_map|selection\.tgt_embed)\.",
    rank=15,
)


def _backbone_name(match: re.Match[str]) -> str:
    name = f"backbone.{match[1]}"
    for pattern, replacement in SWIN_RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


_PORT: tuple[Renaming, ...] = (
    (r"^model\.backbone\.conv_encoder\.model\.(?:swin\.)?(.*)$", _backbone_name),
    (r"^model\.text_backbone\.", "text_side.encoder.bert."),
    (r"^model\.text_projection\.", "text_side.projection."),
    (r"^model\.input_proj_vision\.", "levels.input_proj."),
    (r"^model\.level_embed", "levels.level_embed"),
    (r"^model\.query_position_embeddings\.", "selection.tgt_embed."),
    (r"^model\.encoder_output_bbox_embed\.", "selection.enc_out_bbox_embed."),
    (r"^model\.encoder_output_class_embed\.", "selection.word_scores."),
    (r"^model\.(enc_output\w*)\.", r"selection.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.fusion_layer\.", r"enhancer.fusion_layers.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.text_enhancer_layer\.", r"enhancer.text_layers.\1."),
    (r"^model\.encoder\.layers\.(\d+)\.deformable_layer\.", r"enhancer.layers.\1."),
    (r"^(enhancer\.text_layers\.\d+)\.layer_norm_before", r"\1.norm1"),
    (r"^(enhancer\.text_layers\.\d+)\.layer_norm_after", r"\1.norm2"),
    (r"^(enhancer\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"^(enhancer\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"^bbox_embed\.", "decoder.bbox_embed."),
    (r"^class_embed\.", "decoder.word_scores."),
    (r"^model\.decoder\.", "decoder."),
    (r"^decoder\.layer_norm\.", "decoder.norm."),
    (r"^decoder\.reference_points_head\.", "decoder.ref_point_head."),
    (r"^(decoder\.layers\.\d+)\.encoder_attn_text_layer_norm", r"\1.catext_norm"),
    (r"^(decoder\.layers\.\d+)\.encoder_attn_text", r"\1.ca_text"),
    (r"^(decoder\.layers\.\d+)\.encoder_attn_layer_norm", r"\1.norm1"),
    (r"^(decoder\.layers\.\d+)\.encoder_attn", r"\1.cross_attn"),
    (r"^(decoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm2"),
    (r"^(decoder\.layers\.\d+)\.final_layer_norm", r"\1.norm3"),
    (r"^((?:enhancer|decoder)\..*)\.fc(\d)\.", r"\1.linear\2."),
    (r"\.(self_attn|ca_text)\.([qkv])(?:uery|ey|alue)\.", r".\1.\2_proj."),
)
_OF_FUSION = (
    ("text_param", "gamma_l"),
    ("vision_param", "gamma_v"),
    ("_text", "_l"),
    ("_vision", "_v"),
    (".text_", ".l_"),
    (".vision_", ".v_"),
)


def _joined(state: State) -> State:
    """Stacks projections; those of the fusion stay apart and are then named as in the release."""
    named: State = {}
    for key, value in fuse_projections(state).items():
        if key.startswith("enhancer.fusion_layers."):
            for there, here in _OF_FUSION:
                key = key.replace(there, here)
        named[key] = value
    return _share_box_heads(named)


PORT = KeyMap(
    "GroundingDinoForObjectDetection and MMGroundingDinoForObjectDetection of transformers",
    renames=_PORT,
    drops=(
        r"model\.backbone\.conv_encoder\.model\.(swin\.)?layernorm\..*",
        r"model\.decoder\.(bbox|class)_embed\..*",  # the heads once more
        r"model\.text_backbone\.(pooler\..*|embeddings\.position_ids)",
        r".*\.relative_position_index",
    ),
    combine=_joined,
    mark=r"model\.(encoder_output_bbox_embed|query_position_embeddings)\.",
    rank=5,
)


def port_settings(port: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values of what is in a port's config.json.

    What it leaves out are the port's defaults, which are those of Swin-T and bert-base-uncased.

    Raises:
        ValueError: The port has parts that the release does not.
    """
    swin = dict(port.get("backbone_config") or {})
    bert = dict(port.get("text_config") or {})
    for name, wanted in (
        ("two_stage", True),
        ("embedding_init_target", True),
        ("position_embedding_type", "sine"),
        ("two_stage_bbox_embed_share", False),
    ):
        if port.get(name, wanted) != wanted:
            raise ValueError(f"{name} is {port[name]!r}, which no release has")
    if swin.get("model_type", "swin") != "swin":
        raise ValueError(f"the backbone is {swin['model_type']}, known is swin")
    is_calibrated = port.get("model_type") == "mm-grounding-dino"
    features = [f"res{stage + 1}" for stage in swin.get("out_indices", [2, 3, 4])]
    prefix = "MODEL.GROUNDING_DINO"
    return {
        **RELEASE_INPUT,
        "MODEL.BACKBONE.NAME": "D2SwinTransformer",
        "MODEL.SWIN.EMBED_DIM": swin.get("embed_dim", 96),
        "MODEL.SWIN.DEPTHS": swin.get("depths", [2, 2, 6, 2]),
        "MODEL.SWIN.NUM_HEADS": swin.get("num_heads", [3, 6, 12, 24]),
        "MODEL.SWIN.WINDOW_SIZE": swin.get("window_size", 7),
        "MODEL.SWIN.OUT_FEATURES": features,
        "MODEL.TEXT_ENCODER.NAME": "bert_untrained",
        "MODEL.TEXT_ENCODER.BERT.WIDTH": bert.get("hidden_size", 768),
        "MODEL.TEXT_ENCODER.BERT.DEPTH": bert.get("num_hidden_layers", 12),
        "MODEL.TEXT_ENCODER.BERT.NHEADS": bert.get("num_attention_heads", 12),
        "MODEL.TEXT_ENCODER.BERT.DIM_FEEDFORWARD": bert.get("intermediate_size", 3072),
        "MODEL.TEXT_ENCODER.BERT.POSITIONS": bert.get("max_position_embeddings", 512),
        f"{prefix}.IN_FEATURES": features,
        f"{prefix}.NUM_LEVELS": port.get("num_feature_levels", 4),
        f"{prefix}.NUM_POINTS": port.get("encoder_n_points", 4),
        f"{prefix}.HIDDEN_DIM": port.get("d_model", 256),
        f"{prefix}.NHEADS": port.get("encoder_attention_heads", 8),
        f"{prefix}.DIM_FEEDFORWARD": port.get("encoder_ffn_dim", 2048),
        f"{prefix}.ENC_LAYERS": port.get("encoder_layers", 6),
        f"{prefix}.DEC_LAYERS": port.get("decoder_layers", 6),
        f"{prefix}.NUM_QUERIES": port.get("num_queries", 900),
        f"{prefix}.TEMPERATURE": float(port.get("positional_embedding_temperature", 20)),
        f"{prefix}.MAX_TOKENS": port.get("max_text_len", 256),
        f"{prefix}.SHARED_HEADS": port.get("decoder_bbox_embed_share", True),
        f"{prefix}.CALIBRATED": is_calibrated,
        f"{prefix}.HEAD_EPSILON": 1e-5 if is_calibrated else 1e-3,
    }


RELEASE_INPUT: dict[str, Any] = {
    "MODEL.META_ARCHITECTURE": "GroundingDINO",
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "INPUT.FORMAT": "RGB",
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.TEST_RESIZE.AS_DETR": True,
    "TEST.DETECTIONS_PER_IMAGE": 300,
}

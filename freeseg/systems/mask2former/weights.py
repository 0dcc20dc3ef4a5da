"""Names of Mask2Former's weights elsewhere, and the settings of Hugging Face's port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freeseg.checkpoints import KeyMap, port_decoder, port_key_map
from freeseg.checkpoints.key_map import Renaming

RELEASE = KeyMap(
    "facebookresearch/Mask2Former: its names are ours",
    renames=((r"predictor\.static_query\.", "predictor.query_feat."),),  # of its first version
    mark=r"sem_seg_head\.predictor\.",
    rank=100,  # the rest of the family has such names too
)
_DECODER: tuple[Renaming, ...] = (
    (r"^class_predictor", "sem_seg_head.predictor.class_embed"),
    (r"^model\.transformer_module\.", "sem_seg_head.predictor."),
    (r"queries_embedder", "query_embed"),
    (r"queries_features", "query_feat"),
    (r"decoder\.layernorm", "decoder_norm"),
    (r"decoder\.mask_predictor\.mask_embedder\.(\d)\.0", r"mask_embed.layers.\1"),
    (r"decoder\.layers\.(\d+)\.self_attn_layer_norm", r"transformer_self_attention_layers.\1.norm"),
    (
        r"decoder\.layers\.(\d+)\.cross_attn_layer_norm",
        r"transformer_cross_attention_layers.\1.norm",
    ),
    (r"decoder\.layers\.(\d+)\.final_layer_norm", r"transformer_ffn_layers.\1.norm"),
    (
        r"predictor\.decoder\.layers\.(\d+)\.self_attn",
        r"predictor.transformer_self_attention_layers.\1.self_attn",
    ),
    (
        r"decoder\.layers\.(\d+)\.cross_attn",
        r"transformer_cross_attention_layers.\1.multihead_attn",
    ),
    (r"predictor\.decoder\.layers\.(\d+)\.fc", r"predictor.transformer_ffn_layers.\1.linear"),
)
PORT = port_key_map(
    "Mask2FormerForUniversalSegmentation of transformers",
    _DECODER,
    mark=r"model\.pixel_level_module\.",
    rank=20,
)


def port_settings(port: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values of what is in a port's config.json."""
    return {
        "MODEL.META_ARCHITECTURE": "MaskFormer",
        "MODEL.SEM_SEG_HEAD.NAME": "MaskFormerHead",
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": port["feature_size"],
        "MODEL.SEM_SEG_HEAD.MASK_DIM": port["mask_feature_size"],
        "MODEL.MASK_FORMER.ENFORCE_INPUT_PROJ": port["enforce_input_projection"],
        **port_decoder(port, "MODEL.MASK_FORMER"),
    }

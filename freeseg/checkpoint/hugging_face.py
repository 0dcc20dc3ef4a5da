"""Weights of Hugging Face's ports under the parameter names of the releases."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

# Keys and values are fused with queries; the port's final norm and its counters feed nothing.
UNUSED = r"attn\.[kv](_proj)?\.|backbone\.swin\.layernorm|num_batches_tracked"
# Patterns and replacements, in order; applied to every key.
NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^model\.pixel_level_module\.encoder\.", "backbone."),
    (r"backbone\.embedder\.embedder\.", "backbone.stem.conv1."),
    (
        r"backbone\.encoder\.stages\.(\d)\.layers\.(\d+)\.",
        lambda m: f"backbone.res{int(m[1]) + 2}.{m[2]}.",
    ),
    (r"(backbone\.res.*)layer\.(\d)\.", lambda m: f"{m[1]}conv{int(m[2]) + 1}."),
    (r"(backbone\.(?:res|stem).*)convolution\.", r"\1"),
    (r"(backbone\.(?:res|stem).*)normalization\.", r"\1norm."),
    (r"hidden_states_norms\.stage(\d)", lambda m: f"norm{int(m[1]) - 1}"),
    (r"swin\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"swin\.embeddings\.norm", "patch_embed.norm"),
    (r"swin\.encoder\.layers", "layers"),
    (r"attention\.relative_position_bias\.", "attn."),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.([qkv])_proj", r"attn.\1"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"^model\.pixel_level_module\.decoder\.", "sem_seg_head.pixel_decoder."),
    (r"pixel_decoder\.encoder", "pixel_decoder.transformer.encoder"),
    (r"pixel_decoder\.level_embed", "pixel_decoder.transformer.level_embed"),
    (r"input_projections", "input_proj"),
    (r"mask_projection", "mask_features"),
    (r"(adapter_1|layer_1)\.0\.", r"\1."),
    (r"(adapter_1|layer_1)\.1\.", r"\1.norm."),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
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
    (r"decoder\.layers\.(\d+)\.self_attn", r"transformer_self_attention_layers.\1.self_attn"),
    (
        r"decoder\.layers\.(\d+)\.cross_attn",
        r"transformer_cross_attention_layers.\1.multihead_attn",
    ),
    (r"(predictor\.)decoder\.layers\.(\d+)\.fc", r"\1transformer_ffn_layers.\2.fc"),
    (r"(transformer_ffn_layers\.\d+|transformer\.encoder\.layers\.\d+)\.fc", r"\1.linear"),
)


def mask2former_from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of ``Mask2FormerForUniversalSegmentation`` (Swin or ResNet) under release names."""
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in NAMES:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    fused = {}
    for key, value in renamed.items():
        if re.search(UNUSED, key):
            continue
        if re.search(r"attn\.q(_proj)?\.", key):
            parts = [renamed[re.sub(r"\.q(?=[._])", f".{part}", key)] for part in "qkv"]
            is_swin = key.startswith("backbone")
            key = re.sub(r"q\.", "qkv.", key) if is_swin else re.sub(r"q_proj\.", "in_proj_", key)
            value = torch.cat(parts)
        fused[key] = value
    return fused

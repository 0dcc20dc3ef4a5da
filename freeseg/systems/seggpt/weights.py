"""Names of SegGPT's and Painter's weights elsewhere, and the settings of Hugging Face's port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freeseg.checkpoints import KeyMap
from freeseg.checkpoints.key_map import Renaming

RELEASE = KeyMap(
    "baaivision/Painter: SegGPT and Painter, whose names are ours",
    mark=r"(segment_token_[xy]|decoder_pred\.[013]\.)",
    rank=10,
)

_PORT: tuple[Renaming, ...] = (
    (r"^model\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^model\.embeddings\.segment_token_input$", "segment_token_x"),
    (r"^model\.embeddings\.segment_token_prompt$", "segment_token_y"),
    (r"^model\.embeddings\.type_token_semantic$", "type_token_cls"),
    (r"^model\.embeddings\.type_token_instance$", "type_token_ins"),
    (r"^model\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^model\.embeddings\.", ""),
    (r"^model\.encoder\.layernorm\.", "norm."),
    (r"^model\.encoder\.layers\.", "blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^(blocks\.\d+)\.attention\.", r"\1.attn."),
    (r"\.mlp\.lin([12])\.", r".mlp.fc\1."),
    (r"^decoder\.decoder_embed\.", "decoder_embed."),
    (r"^decoder\.decoder_pred\.conv\.", "decoder_pred.0."),
    (r"^decoder\.decoder_pred\.layernorm\.", "decoder_pred.1."),
    (r"^decoder\.decoder_pred\.head\.", "decoder_pred.3."),
)
PORT = KeyMap(
    "SegGptForImageSegmentation of transformers",
    renames=_PORT,
    mark=r"model\.embeddings\.segment_token_",
    rank=5,
)


def port_settings(port: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values of what is in a port's config.json; what it leaves out are its defaults.

    Raises:
        ValueError: The port is of a shape that no release has.
    """
    height, width = port.get("image_size", [896, 448])
    if height != 2 * width:
        raise ValueError(f"image_size is {height} x {width}: a canvas is two squares")
    if not port.get("use_relative_position_embeddings", True):
        raise ValueError("use_relative_position_embeddings is false, which no release has")
    for name, ours in (("hidden_act", "gelu"), ("num_channels", 3)):
        if port.get(name, ours) != ours:
            raise ValueError(f"{name} is {port[name]!r}, here it is {ours}")
    eps = port.get("layer_norm_eps", 1e-6)
    if eps != 1e-6:
        raise ValueError(f"layer_norm_eps is {eps}: the port's decoder has it too, 1e-6 here")
    embed, hidden = port.get("hidden_size", 1024), port.get("mlp_dim")
    pretrain, patch = port.get("pretrain_image_size", 224), port.get("patch_size", 16)
    if pretrain % patch:
        raise ValueError(f"pretrain_image_size is {pretrain}, which patches of {patch} do not fill")
    return {
        "MODEL.META_ARCHITECTURE": "SegGPT",
        "INPUT.FORMAT": "RGB",
        "INPUT.TEST_RESIZE.SIZE": [width, width],
        "INPUT.TEST_RESIZE.FILTER": "bicubic",
        "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
        "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
        "MODEL.SEGGPT.IMAGE_SIZE": width,
        "MODEL.SEGGPT.PATCH_SIZE": patch,
        "MODEL.SEGGPT.EMBED_DIM": embed,
        "MODEL.SEGGPT.DEPTH": port.get("num_hidden_layers", 24),
        "MODEL.SEGGPT.NHEADS": port.get("num_attention_heads", 16),
        "MODEL.SEGGPT.MLP_RATIO": hidden / embed if hidden else port.get("mlp_ratio", 4.0),
        "MODEL.SEGGPT.QKV_BIAS": port.get("qkv_bias", True),
        "MODEL.SEGGPT.PRETRAIN_GRID": pretrain // patch,
        "MODEL.SEGGPT.MERGE_BLOCK": port.get("merge_index", 2),
        "MODEL.SEGGPT.TAPS": port.get("intermediate_hidden_state_indices", [5, 11, 17, 23]),
        "MODEL.SEGGPT.DECODER_DIM": port.get("decoder_hidden_size", 64),
        "MODEL.SEGGPT.DROP_PATH": port.get("drop_path_rate", 0.1),
    }

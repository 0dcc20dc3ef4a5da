"""Names of OneFormer's weights elsewhere, and the settings of Hugging Face's port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freeseg.checkpoints import KeyMap, port_decoder, port_key_map
from freeseg.checkpoints.key_map import Renaming

RELEASE = KeyMap("SHI-Labs/OneFormer: its names are ours", mark=r"task_mlp\.", rank=40)
_DECODER: tuple[Renaming, ...] = (
    (r"^model\.transformer_module\.level_embed", "sem_seg_head.predictor.level_embed"),
    (r"^model\.transformer_module\.queries_embedder", "sem_seg_head.predictor.query_embed"),
    (r"^model\.transformer_module\.input_projections", "sem_seg_head.predictor.input_proj"),
    (r"^model\.transformer_module\.decoder\.", "sem_seg_head.predictor."),
    (r"predictor\.query_transformer", "predictor.class_transformer"),
    (r"query_input_projection", "class_input_proj"),
    (r"predictor\.layers\.(\d+)\.self_attn\.", r"predictor.transformer_self_attention_layers.\1."),
    (
        r"predictor\.layers\.(\d+)\.cross_attn\.",
        r"predictor.transformer_cross_attention_layers.\1.",
    ),
    (r"predictor\.layers\.(\d+)\.ffn\.", r"predictor.transformer_ffn_layers.\1."),
    (r"mask_embed\.layers\.(\d+)\.0\.", r"mask_embed.layers.\1."),
    (r"^model\.task_encoder\.task_mlp\.layers\.(\d+)\.0\.", r"task_mlp.layers.\1."),
    (r"^model\.text_mapper\.", ""),
    (r"text_projector\.layers\.(\d+)\.0\.", r"text_projector.layers.\1."),
    (r"text_encoder\.transformer\.layers\.", "text_encoder.transformer.resblocks."),
    (r"(resblocks\.\d+)\.self_attn\.", r"\1.attn."),
    (r"(resblocks\.\d+)\.layer_norm", r"\1.ln_"),
    (r"(resblocks\.\d+)\.mlp\.fc1", r"\1.mlp.c_fc"),
    (r"(resblocks\.\d+)\.mlp\.fc2", r"\1.mlp.c_proj"),
)
PORT = port_key_map(
    "OneFormerForUniversalSegmentation of transformers",
    _DECODER,
    mark=r"model\.task_encoder\.",
    rank=10,
)


def port_settings(port: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and values of what is in a port's config.json."""
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
        **port_decoder(port, "MODEL.ONE_FORMER"),
    }

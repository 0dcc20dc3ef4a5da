"""Names of Grounding DINO's weights elsewhere, and the settings of Hugging Face's ports."""

from __future__ import annotations

import re

import torch

from freeseg.checkpoints import KeyMap
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
    mark=r"(module\.)?(transformer\.enc_out_bbox_embed|feat_map)\.",
    rank=15,
)

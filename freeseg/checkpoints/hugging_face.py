"""Names of Hugging Face's ports of the Mask2Former family as those of the original releases.

Both the names in files (those of transformers 4) and of modules in memory (transformers 5) are
known. The tables are applied to every key, row by row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from freeseg.checkpoints.key_map import KeyMap, Renaming

_BACKBONE: Renaming = (r"^model\.pixel_level_module\.encoder\.(?:model\.|swin\.)?", "backbone.")
# Swin behind "backbone.": files first, then the names of transformers 5 become the release's.
SWIN_RENAMES: tuple[Renaming, ...] = (
    (r"hidden_states_norms\.stage(\d)", lambda match: f"norm{int(match[1]) - 1}"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"backbone\.embeddings\.norm", "backbone.patch_embed.norm"),
    (r"backbone\.encoder\.layers", "backbone.layers"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"attention\.self\.(query|key|value)", lambda match: f"attn.{match[1][0]}_proj"),
    (r"attention\.self\.", "attn."),
    (r"attention\.relative_position_bias\.", "attn."),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.([qkv])_proj", r"attn.\1_proj"),
    (r"\.intermediate\.dense", ".mlp.fc1"),
    (r"(blocks\.\d+)\.output\.dense", r"\1.mlp.fc2"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
)
_RESNET: tuple[Renaming, ...] = (
    (r"^backbone\.embedder\.embedder\.convolution", "backbone.stem.conv1"),
    (r"^backbone\.embedder\.embedder\.normalization", "backbone.stem.conv1.norm"),
    (
        r"^backbone\.encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.",
        lambda match: f"backbone.res{int(match[1]) + 2}.{match[2]}.conv{int(match[3]) + 1}.",
    ),
    (
        r"^backbone\.encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.",
        lambda match: f"backbone.res{int(match[1]) + 2}.{match[2]}.shortcut.",
    ),
    (r"\.convolution\.weight", ".weight"),
    (r"\.normalization\.", ".norm."),
)
_PIXEL_DECODER: tuple[Renaming, ...] = (
    (r"^model\.pixel_level_module\.decoder\.", "sem_seg_head.pixel_decoder."),
    (r"pixel_decoder\.encoder", "pixel_decoder.transformer.encoder"),
    (r"pixel_decoder\.level_embed", "pixel_decoder.transformer.level_embed"),
    (r"input_projections", "input_proj"),
    (r"mask_projection", "mask_features"),
    (r"((?:adapter|layer)_\d+)\.0\.", r"\1."),
    (r"((?:adapter|layer)_\d+)\.1\.", r"\1.norm."),
    (r"(transformer\.encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(transformer\.encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"(transformer\.encoder\.layers\.\d+)\.fc", r"\1.linear"),
)
# Weights of the ports that nothing reads: the norm after Swin's last layer, counters of batches.
_DROPS = (
    r"model\.pixel_level_module\.encoder\.(?:model\.|swin\.)?layernorm\.(?:weight|bias)",
    r".*\.num_batches_tracked",
)
_PART = re.compile(r"\.([qkv])_proj\.(weight|bias)$")


def fuse_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stacks the three projections of every attention that has them apart.

    Raises:
        ValueError: When one of the three is not there.
    """
    fused: dict[str, Tensor] = {}
    for key, value in state.items():
        match = _PART.search(key)
        if match is None:
            fused[key] = value
            continue
        stem, kind = key[: match.start()], match[2]
        name = f"{stem}.qkv.{kind}" if stem.startswith("backbone.") else f"{stem}.in_proj_{kind}"
        parts = [f"{stem}.{part}_proj.{kind}" for part in "qkv"]
        missing = [part for part in parts if part not in state]
        if missing:
            raise ValueError(f"{key} is there without {' and '.join(missing)}")
        fused[name] = torch.cat([state[part] for part in parts])
    return fused


def port_key_map(source: str, decoder: tuple[Renaming, ...], mark: str, rank: int) -> KeyMap:
    """The key map of a port of the Mask2Former family.

    Args:
        source: Whose weights these are, for people.
        decoder: Renaming of what is behind the pixel decoder.
        mark: As of a `KeyMap`.
        rank: Likewise.
    """
    return KeyMap(
        source,
        renames=(_BACKBONE, *SWIN_RENAMES, *_RESNET, *_PIXEL_DECODER, *decoder),
        drops=_DROPS,
        combine=fuse_projections,
        mark=mark,
        rank=rank,
    )

"""Key maps by system: one row per release whose weights can be converted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from freeseg.checkpoints.hugging_face import HF_MASK2FORMER, HF_ONEFORMER
from freeseg.checkpoints.key_map import KeyMap
from freeseg.checkpoints.lseg import LSEG

KEY_MAPS: Mapping[str, KeyMap] = {
    "hf-oneformer": HF_ONEFORMER,
    "hf-mask2former": HF_MASK2FORMER,
    "lseg": LSEG,
    "oneformer": KeyMap("SHI-Labs/OneFormer: its names are ours", mark=r"task_mlp\."),
    "freeseg": KeyMap(
        "bytedance/FreeSeg, and its weights as MAFT publishes them",
        drops=(
            r"criterion\.empty_weight",  # follows from the number of classes
            r"(.*\.)?clip_adapter\.pixel_(mean|std)",  # CLIP's constants
            # rows of the embedding table
            r"(.*\.)?clip_adapter\.prompt_learner\.(start|dot|end|pad)_signal",
            # sizes that OpenAI keeps among the weights
            r"clip_adapter\.clip_model\.(input_resolution|context_length|vocab_size)",
            r"_?region_clip_adapter\..*",  # a copy of clip_adapter
        ),
        mark=r"(.*\.)?clip_adapter\.",
    ),
    "mask2former": KeyMap(
        "facebookresearch/Mask2Former: its names are ours",
        renames=((r"predictor\.static_query\.", "predictor.query_feat."),),  # of its first version
        mark=r"sem_seg_head\.predictor\.",
    ),
}


def detect_system(keys: Iterable[str]) -> str | None:
    """Whose weights these are, by their names; None when it is none of `KEY_MAPS`."""
    names = list(keys)
    for system, key_map in KEY_MAPS.items():
        if any(re.match(key_map.mark, name) for name in names):
            return system
    return None

"""Key maps by system: one row per release whose weights can be converted."""

from __future__ import annotations

from collections.abc import Mapping

from freeseg.checkpoints.key_map import KeyMap

KEY_MAPS: Mapping[str, KeyMap] = {
    "mask2former": KeyMap("facebookresearch/Mask2Former: its names are ours"),
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
    ),
}

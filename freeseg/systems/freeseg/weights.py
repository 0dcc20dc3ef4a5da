"""Names of FreeSeg's weights in its release."""

from __future__ import annotations

from freeseg.checkpoints import KeyMap

RELEASE = KeyMap(
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
    rank=50,
)

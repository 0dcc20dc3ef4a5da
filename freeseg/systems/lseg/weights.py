"""LSeg's release: Lightning checkpoints, whose network is called ``net``."""

from __future__ import annotations

import re

from freeseg.checkpoints import KeyMap

NET = r"^(?:net\.)?"


def _residual_stage(match: re.Match[str]) -> str:
    """A stage of torchvision's ResNet as Detectron2 names it."""
    stage, rest = int(match[1]) + 1, match[2]
    rest = rest.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    rest = re.sub(r"bn([123])", r"conv\1.norm", rest)
    return f"backbone.res{stage}.{rest}"


RELEASE = KeyMap(
    "isl-org/lang-seg: Lightning checkpoints, the demo's and the few-shot ones",
    renames=(
        (NET + r"pretrained\.(model|act_postprocess[1-4])\.", r"backbone.\1."),
        # ResNet-101: its stem is a part of the first stage there
        (NET + r"pretrained\.layer1\.0\.", "backbone.stem.conv1."),
        (NET + r"pretrained\.layer1\.1\.", "backbone.stem.conv1.norm."),
        (NET + r"pretrained\.layer(1)\.4\.(.*)$", _residual_stage),
        (NET + r"pretrained\.layer([234])\.(.*)$", _residual_stage),
        (NET + r"scratch\.", "sem_seg_head."),
        (NET + r"clip_pretrained\.", "text_adapter.clip_model."),
    ),
    drops=(
        r"(train|val)_(accuracy|iou)\..*",  # counters of the trainer
        r"criterion\..*",
        # the text half of CLIP is all that LSeg uses, and these are its sizes
        r"(net\.)?clip_pretrained\.(visual\..*|logit_scale)",
        r"(net\.)?clip_pretrained\.(input_resolution|context_length|vocab_size)",
    ),
    mark=r"((net\.)?(pretrained\.(model|act_postprocess1|layer1)|scratch\.(head1|layer1_rn))|"
    r"sem_seg_head\.head1)\.",  # the last is of what was trained here
    rank=30,
)

"""FreeSeg on stored inputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from freeseg.parity.golden import Golden
from freeseg.structures import JUDGED_TASKS, Vocabulary
from freeseg.systems.freeseg.system import FreeSeg
from freeseg.text import CLIP, ClipSpec

CLIP_PREFIX = "clip_adapter.clip_model."
# sizes of a CLIP that its weights do not show, as meta.json calls them and as we do
HIDDEN_SIZES = {"text_heads": "text_heads", "quick_gelu": "quick_gelu"}


def run_freeseg(golden: Golden) -> dict[str, Tensor]:
    """Texts, embeddings and masks under every stored task, and the results."""
    image = golden.tensors["image"]
    clip = {
        key[len(CLIP_PREFIX) :]: value
        for key, value in golden.weights.items()
        if key.startswith(CLIP_PREFIX)
    }
    sizes = golden.meta.get("clip", {})
    known: dict[str, Any] = {
        ours: sizes[theirs] for theirs, ours in HIDDEN_SIZES.items() if theirs in sizes
    }
    cfg = golden.config()
    cfg.MODEL.TEXT_ENCODER.CACHE = False  # these weights will not be seen again
    model = FreeSeg(cfg, clip_model=CLIP(ClipSpec.from_state_dict(clip, **known))).eval()
    golden.fill(model)
    names = golden.about("classes")
    vocabulary = Vocabulary(
        tuple(names),
        tuple(name in golden.about("things") for name in names),
        tuple(name in golden.about("seen") for name in names),
    )
    tasks = [task for task in JUDGED_TASKS if f"{task}.text_features" in golden.tensors]
    features = model.encode(model.prepare([image]))
    found: dict[str, Tensor] = {}
    for task in tasks:
        text = model.text(vocabulary, task)
        masks = model.sem_seg_head(features, text[None])[-1]
        found[f"{task}.text_features"] = text
        found[f"{task}.query_embeddings"] = masks.embeddings
        found[f"{task}.pred_masks"] = masks.mask_logits
    output = model([{"image": image, "vocabulary": vocabulary, "tasks": tasks}])[0]
    if "sem_seg" in output:
        found["semantic.sem_seg"] = output["sem_seg"]
    if "panoptic_seg" in output:
        found["panoptic.panoptic_seg"] = output["panoptic_seg"][0]
    return found

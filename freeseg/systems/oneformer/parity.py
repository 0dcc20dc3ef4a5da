"""OneFormer on stored inputs."""

from __future__ import annotations

from torch import Tensor

from freeseg.names import build_model
from freeseg.parity.golden import Golden
from freeseg.structures import JUDGED_TASKS
from freeseg.systems.oneformer.system import OneFormer


def run_oneformer(golden: Golden) -> dict[str, Tensor]:
    """Logits and semantic scores under every task that is stored."""
    model: OneFormer = build_model(golden.config()).eval()
    golden.fill(model)
    image = golden.tensors["image"]
    features = model.encode(model.prepare([image]))
    found: dict[str, Tensor] = {}
    for task in JUDGED_TASKS:
        if f"{task}.pred_logits" not in golden.tensors:
            continue
        prediction = model.sem_seg_head(features, model.embed_tasks([task])).predictions[-1]
        found[f"{task}.pred_logits"] = prediction.class_logits
        found[f"{task}.pred_masks"] = prediction.mask_logits
        request = {"image": image, "task": task, "tasks": ("semantic",)}
        found[f"{task}.sem_seg"] = model([request])[0]["sem_seg"]
    return found

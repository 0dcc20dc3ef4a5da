"""Mask2Former on stored inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from freeseg.names import build_model
from freeseg.parity.golden import Golden
from freeseg.structures import Vocabulary
from freeseg.systems.mask2former.system import Mask2Former


def run_mask2former(golden: Golden) -> dict[str, Tensor]:
    """Logits of every layer and the results of all tasks."""
    cfg, image = golden.config(), golden.tensors["image"]
    model: Mask2Former = build_model(cfg).eval()
    golden.fill(model)
    things = set(golden.meta.get("thing_ids", ()))
    model.vocabulary = Vocabulary(
        model.vocabulary.names, tuple(index in things for index in range(len(model.vocabulary)))
    )
    found: dict[str, Tensor] = {}
    predictions = model.sem_seg_head(model.encode(model.prepare([image])))
    prefixes = [*(f"aux{index}." for index in range(len(predictions) - 1)), ""]
    for prefix, prediction in zip(prefixes, predictions):
        found[f"{prefix}pred_logits"] = prediction.class_logits
        found[f"{prefix}pred_masks"] = prediction.mask_logits
    height, width = golden.tensors.get("output_size", torch.tensor(image.shape[-2:])).tolist()
    output = model([{"image": image, "height": height, "width": width}])[0]
    if "sem_seg" in output:
        found["sem_seg"] = output["sem_seg"]
    if "panoptic_seg" in output:
        found["panoptic_seg"], segments = output["panoptic_seg"]
        rows = [[one["id"], one["category_id"], int(one["isthing"])] for one in segments]
        found["panoptic_segments"] = torch.tensor(rows).reshape(-1, 3)
    if "instances" in output:
        found["instance.scores"] = output["instances"].scores
        found["instance.pred_classes"] = output["instances"].pred_classes
    return found

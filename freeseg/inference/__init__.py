"""From logits to segmentations, without a model."""

from freeseg.inference.assemble import TASKS, Thresholds, assemble, check_tasks, mask_boxes
from freeseg.inference.batching import groups_by_padded_size

__all__ = [
    "TASKS",
    "Thresholds",
    "assemble",
    "check_tasks",
    "groups_by_padded_size",
    "mask_boxes",
]

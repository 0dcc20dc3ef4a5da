"""From logits to segmentations, without a model."""

from freeseg.inference.assemble import TASKS, Thresholds, assemble, check_tasks, mask_boxes

__all__ = ["TASKS", "Thresholds", "assemble", "check_tasks", "mask_boxes"]

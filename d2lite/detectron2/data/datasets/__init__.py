"""Loaders of common dataset formats, and the names which are registered from the start."""

from __future__ import annotations

from . import builtin  # imported for what it registers
from .coco import convert_to_coco_json, load_coco_json, load_sem_seg, register_coco_instances
from .coco_panoptic import register_coco_panoptic, register_coco_panoptic_separated
from .pascal_voc import load_voc_instances, register_pascal_voc

__all__ = [
    "builtin",
    "convert_to_coco_json",
    "load_coco_json",
    "load_sem_seg",
    "load_voc_instances",
    "register_coco_instances",
    "register_coco_panoptic",
    "register_coco_panoptic_separated",
    "register_pascal_voc",
]

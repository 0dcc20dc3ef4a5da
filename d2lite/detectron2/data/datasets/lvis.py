"""Placeholders: LVIS, with its 1200 classes, is in the real package only."""

from __future__ import annotations

from detectron2._missing import missing

__all__ = ["get_lvis_instances_meta", "load_lvis_json", "register_lvis_instances"]

get_lvis_instances_meta = missing("detectron2.data.datasets.lvis.get_lvis_instances_meta")
load_lvis_json = missing("detectron2.data.datasets.lvis.load_lvis_json")
register_lvis_instances = missing("detectron2.data.datasets.lvis.register_lvis_instances")

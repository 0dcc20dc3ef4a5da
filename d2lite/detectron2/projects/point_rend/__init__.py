"""PointRend: config keys, point sampling and the SSD colour augmentation."""

from __future__ import annotations

from detectron2._missing import missing

from .color_augmentation import ColorAugSSDTransform
from .config import add_pointrend_config

ImplicitPointRendMaskHead = missing("detectron2.projects.point_rend.ImplicitPointRendMaskHead")
PointRendMaskHead = missing("detectron2.projects.point_rend.PointRendMaskHead")
PointRendSemSegHead = missing("detectron2.projects.point_rend.PointRendSemSegHead")

__all__ = [
    "ColorAugSSDTransform",
    "ImplicitPointRendMaskHead",
    "PointRendMaskHead",
    "PointRendSemSegHead",
    "add_pointrend_config",
]

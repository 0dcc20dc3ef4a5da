"""PointRend: config keys, point sampling and the SSD colour augmentation."""

from __future__ import annotations

from .color_augmentation import ColorAugSSDTransform
from .config import add_pointrend_config

__all__ = ["ColorAugSSDTransform", "add_pointrend_config"]

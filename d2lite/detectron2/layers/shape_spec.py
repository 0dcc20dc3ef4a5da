"""The shape of a feature map, as far as it is known before running the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass
class ShapeSpec:
    """Channels, height, width and stride of a tensor; None where unknown."""

    channels: Optional[int] = None
    height: Optional[int] = None
    width: Optional[int] = None
    stride: Optional[int] = None

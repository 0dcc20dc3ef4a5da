"""The shape of a feature map, as far as it is known before running the model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ShapeSpec:
    """Channels, height, width and stride of a tensor; None where unknown."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None

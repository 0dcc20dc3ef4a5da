"""What is known of a photo before an example is shown: hardly anything."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from freeseg.structures import ImageFeatures


@dataclass(frozen=True, eq=False)
class CanvasFeatures(ImageFeatures):
    """Embedded patches [B, h, w, C]: from its first block on a photo sees the examples."""

    patches: Tensor

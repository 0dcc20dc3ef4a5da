"""What SAM keeps of an image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from freeseg.structures import ImageFeatures


@dataclass(frozen=True, eq=False)
class EmbeddingFeatures(ImageFeatures):
    """Images as their encoder leaves them.

    Attributes:
        embedding: [B, C, g, g], of the padded squares.
    """

    embedding: Tensor

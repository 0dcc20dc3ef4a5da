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
        details: Finer maps [B, C/4, 2g, 2g] and [B, C/8, 4g, 4g] of encoders that have them.
    """

    embedding: Tensor
    details: tuple[Tensor, ...] = ()

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """The embedding and what there is of details."""
        return self.embedding, *self.details

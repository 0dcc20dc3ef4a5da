"""What a query decoder returns.

Shapes: B images, Q queries, C channels, D text feature size, K classes, h w mask size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LayerPrediction:
    """Queries after one decoder layer, and the masks they draw."""

    queries: Tensor  # [B, Q, C], layer-normalised: what class and mask heads read
    mask_logits: Tensor  # [B, Q, h, w]


@dataclass(frozen=True)
class DecoderOutput:
    """Predictions of the initial queries and after every layer, in order."""

    layers: tuple[LayerPrediction, ...]

    @property
    def final(self) -> LayerPrediction:
        return self.layers[-1]


@dataclass(frozen=True)
class MaskPrediction:
    """Classified masks of a batch: what losses and post-processing read."""

    class_logits: Tensor  # [B, Q, K+1], the last column is "no object"
    mask_logits: Tensor  # [B, Q, h, w]

    def __post_init__(self) -> None:
        if self.class_logits.shape[:2] != self.mask_logits.shape[:2]:
            raise ValueError(
                f"class logits {tuple(self.class_logits.shape)} and mask logits "
                f"{tuple(self.mask_logits.shape)} must agree in [B, Q]"
            )


@dataclass(frozen=True)
class EmbeddedMasks:
    """Masks of a batch before they are classified: their queries in the space of text features."""

    embeddings: Tensor  # [B, Q, D], of any length
    mask_logits: Tensor  # [B, Q, h, w]

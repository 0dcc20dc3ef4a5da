"""Classification by similarity to text.

Shapes: B images, Q queries, K classes, D width of text features.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 100.0  # of cosines, in every release of this family: a constant, not CLIP's own


def cosine_logits(embeddings: Tensor, text: Tensor) -> Tensor:
    """Scaled cosines [..., Q, K+1].

    Args:
        embeddings: [..., Q, D], of any length.
        text: Unit vectors [..., K+1, D], "no object" last.
    """
    return TEMPERATURE * F.normalize(embeddings, dim=-1) @ text.mT

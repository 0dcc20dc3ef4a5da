"""Classification by similarity to text.

Shapes: Q queries, K classes, T texts of them, D width of text features.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from freeseg.structures import Vocabulary

LOGIT_SCALE = 100.0  # of cosines, in every release of this family: a constant, not CLIP's own


def class_logits(
    vocabulary: Vocabulary, embeddings: Tensor, text: Tensor, scale: float = LOGIT_SCALE
) -> Tensor:
    """Scaled cosines [..., Q, K] or, where `text` ends with "no object", [..., Q, K+1].

    Args:
        vocabulary: The K classes; a class is as likely as the likeliest of its texts.
        embeddings: [..., Q, D], of any length.
        text: Unit vectors [T, D] or [T+1, D] of the classes' texts.
        scale: Of the cosines, the inverse of the temperature.
    """
    return vocabulary.merge_synonyms(cosine_logits(embeddings, text, scale))


def cosine_logits(embeddings: Tensor, text: Tensor, scale: float = LOGIT_SCALE) -> Tensor:
    """Scaled cosines [..., Q, T] of embeddings [..., Q, D] with unit vectors [..., T, D]."""
    return scale * F.normalize(embeddings, dim=-1) @ text.mT

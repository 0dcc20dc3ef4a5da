"""Texts as rows of CLIP's byte-pair tokens.

Shapes: N texts, L context length.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from freeseg.text.clip import BytePairs


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """Token ids int64 [N, L]: start, the lower-cased text, end, zeros.

    The end has the largest id of all. A text that is too long loses words, never its end.
    """
    rows = [_ids(text, context_length) for text in texts]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(texts), context_length)


@lru_cache(maxsize=65536)  # class names in templates: the same texts in every step
def _ids(text: str, context_length: int) -> tuple[int, ...]:
    words = BytePairs().encode(text)[: context_length - 2]
    padding = [0] * (context_length - 2 - len(words))
    return (BytePairs.start_id, *words, BytePairs.end_id, *padding)

"""CLIP's byte-pair tokens, from the vocabulary that open_clip_torch ships: no download.

Shapes: N texts, L context length.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

VOCABULARY_SIZE = 49408


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """Token ids int64 [N, L]: start, the lower-cased text, end, zeros.

    The end of text has the largest id of the vocabulary. What is too long loses its end, but not
    the end token.
    """
    rows = [_tokens(text, context_length) for text in texts]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(texts), context_length)


@lru_cache(maxsize=65536)  # class names and templates: the same texts in every step
def _tokens(text: str, context_length: int) -> tuple[int, ...]:
    tokens: Tensor = _tokenizer()(text, context_length=context_length)[0]
    return tuple(tokens.tolist())


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer  # seconds: only when a text is there

    return SimpleTokenizer()

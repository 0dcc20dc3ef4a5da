"""Scores of image tokens or queries against words.

Shapes: B images, Q queries or image tokens, T text tokens, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

RARE = 0.01  # probability of a word, with a bias, before anything is learned


class WordScores(nn.Module):
    """Products of features and words; MM-Grounding-DINO's are scaled and have a learned bias.

    Args:
        channels: C.
        is_calibrated: Whether products are divided by the root of C and have a bias.
    """

    def __init__(self, *, channels: int, is_calibrated: bool = False) -> None:
        super().__init__()
        self.scale = channels**-0.5 if is_calibrated else 1.0
        self.bias = (
            nn.Parameter(torch.tensor(math.log(RARE / (1 - RARE)))) if is_calibrated else None
        )

    def forward(self, features: Tensor, words: Tensor, is_token: Tensor) -> Tensor:
        """Logits [B, Q, T] of features [B, Q, C]; of padding, which is no token, -inf."""
        logits = features @ words.mT
        if self.bias is not None:
            logits = logits * self.scale + self.bias
        return logits.masked_fill(~is_token[:, None], -torch.inf)

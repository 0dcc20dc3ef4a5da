"""Random Fourier features of points (Tancik et al., arXiv 2006.10739)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FourierPosition(nn.Module):
    """Encodes points of a picture by waves along directions that were drawn once.

    Args:
        channels: Of the encoding, an even number.
        scale: Standard deviation of the waves' frequencies, in turns per picture and half.
        generator: Of the draw; the global one when None. Checkpoints replace what is drawn.
    """

    positional_encoding_gaussian_matrix: Tensor  # [2, channels / 2]

    def __init__(
        self, *, channels: int, scale: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels must be even, got {channels}")
        drawn = scale * torch.randn(2, channels // 2, generator=generator)
        # The name is the releases'.
        self.register_buffer("positional_encoding_gaussian_matrix", drawn)

    def forward(self, points: Tensor) -> Tensor:
        """Points [..., 2], (x, y) in [0, 1] of the picture, as [..., channels]: sines, cosines."""
        directions = self.positional_encoding_gaussian_matrix
        turns = (2 * points - 1) @ directions  # [..., channels / 2]
        angles = turns * (2 * math.pi)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

"""Boxes as Grounding DINO writes them: (centre x, centre y, width, height) in shares of a picture.

Shapes: N boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-3  # Hugging Face's port of Grounding DINO has 1e-5, which moves boxes at edges


def inverse_sigmoid(shares: Tensor, epsilon: float) -> Tensor:
    """Logits of shares, neither they nor what is missing to 1 smaller than `epsilon`."""
    shares = shares.clamp(0, 1)
    return (shares.clamp(min=epsilon) / (1 - shares).clamp(min=epsilon)).log()


def to_corners(boxes: Tensor) -> Tensor:
    """Boxes [..., 4] as (left, top, right, bottom)."""
    centres, sizes = boxes.split(2, dim=-1)
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)


def to_centres(boxes: Tensor) -> Tensor:
    """Boxes (left, top, right, bottom) [..., 4] as this system writes them."""
    first, last = boxes.split(2, dim=-1)
    return torch.cat([(first + last) / 2, last - first], dim=-1)

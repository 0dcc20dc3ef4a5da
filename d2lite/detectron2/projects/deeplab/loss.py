"""Cross entropy over the hardest pixels.

Shapes: B images, K classes, H W label size.
"""

from __future__ import annotations

import torch
from torch import nn


class DeepLabCE(nn.Module):
    """Averages the cross entropy over the ``top_k_percent_pixels`` with the largest loss."""

    def __init__(self, ignore_label=-1, top_k_percent_pixels=1.0, weight=None):
        """``top_k_percent_pixels`` is a fraction in [0, 1]; ``weight`` is one per class."""
        super().__init__()
        self.top_k_percent_pixels = top_k_percent_pixels
        self.ignore_label = ignore_label
        self.criterion = nn.CrossEntropyLoss(
            weight=weight, ignore_index=ignore_label, reduction="none"
        )

    def forward(self, logits, labels, weights=None):
        """Return the loss of logits [B, K, H, W] with labels and pixel weights [B, H, W]."""
        losses = self.criterion(logits, labels)
        if weights is not None:
            losses = losses * weights
        losses = losses.flatten()
        if self.top_k_percent_pixels != 1.0:
            kept = int(self.top_k_percent_pixels * losses.numel())
            losses = torch.topk(losses, kept).values
        return losses.mean()

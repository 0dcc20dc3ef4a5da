"""Fusion of a feature pyramid from coarse to fine, as in RefineNet (arXiv 1611.06612) and DPT.

Shapes: B images, C channels, h w size of a map.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.layers import get_norm


class FusionBlock(nn.Module):
    """Joins a finer map to what came from the coarser ones."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualUnit(channels, norm)
        self.resConfUnit2 = ResidualUnit(channels, norm)
        self.out_conv = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, coarse: Tensor | None, fine: Tensor) -> Tensor:
        """A map [B, C, 2h, 2w] of two, [B, C, h, w] and [B, C, 2h, 2w].

        The coarsest block has no `coarse`. The release doubles the map here, before a 1x1
        convolution; it is doubled by the next block instead, which is the same in a quarter of
        the time.
        """
        x = fine if coarse is None else double(coarse) + self.resConfUnit1(fine)
        return self.out_conv(self.resConfUnit2(x))


def double(maps: Tensor) -> Tensor:
    """Maps [B, C, h, w] at [2h, 2w].

    Parity: corners are aligned.
    """
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions, an activation before each."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, norm)
        self.bn1 = get_norm(norm, channels) or nn.Identity()
        self.conv2 = _convolution(channels, norm)
        self.bn2 = get_norm(norm, channels) or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, h, w] to the same shape."""
        residual = self.bn1(self.conv1(F.relu(x)))
        return x + self.bn2(self.conv2(F.relu(residual)))


def _convolution(channels: int, norm: str) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=not norm)

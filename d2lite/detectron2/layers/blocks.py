"""Building blocks of convolutional backbones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fvcore.nn import weight_init
from torch import Tensor, nn

from detectron2.layers.batch_norm import FrozenBatchNorm2d, get_norm
from detectron2.layers.wrappers import Conv2d


class CNNBlockBase(nn.Module):
    """Base of blocks that map [N, in_channels, H, W] to out_channels at a stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride

    def freeze(self) -> CNNBlockBase:
        """Stop training this block: no gradients, batch norms frozen; returns the block."""
        self.requires_grad_(False)
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)
        return self


class DepthwiseSeparableConv2d(nn.Module):
    """A convolution per channel and then a 1x1 convolution, each with its norm and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        padding: int = 1,
        dilation: int = 1,
        *,
        norm1: Any = None,
        activation1: Callable[[Tensor], Tensor] | None = None,
        norm2: Any = None,
        activation2: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__()
        window = {"kernel_size": kernel_size, "padding": padding, "dilation": dilation}
        first = {"norm": get_norm(norm1, in_channels), "activation": activation1}
        second = {"norm": get_norm(norm2, out_channels), "activation": activation2}
        self.depthwise = Conv2d(
            in_channels, in_channels, groups=in_channels, bias=not norm1, **window, **first
        )
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=not norm2, **second)
        for convolution in (self.depthwise, self.pointwise):
            weight_init.c2_msra_fill(convolution)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))

"""Atrous spatial pyramid pooling, as in DeepLab."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from fvcore.nn import weight_init
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.layers.batch_norm import get_norm
from detectron2.layers.blocks import DepthwiseSeparableConv2d
from detectron2.layers.wrappers import Conv2d


class ASPP(nn.Module):
    """A 1x1 convolution, three dilated ones and pooled image features, joined and projected.

    `pool_kernel_size` None pools the whole image; a size (of the training feature map, which must
    divide the input) keeps the pooling window the same in inference. The pooled branch has no norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: list[int],
        *,
        norm: Any,
        activation: Callable[[Tensor], Tensor],
        pool_kernel_size: tuple[int, int] | None = None,
        dropout: float = 0.0,
        use_depthwise_separable_conv: bool = False,
    ):
        super().__init__()
        assert len(dilations) == 3, f"ASPP expects 3 dilations, got {len(dilations)}"
        self.pool_kernel_size, self.dropout = pool_kernel_size, dropout

        def conv(width: int, kernel_size: int, dilation: int = 1) -> Conv2d:
            padding = dilation * (kernel_size // 2)
            return _xavier(
                Conv2d(
                    width,
                    out_channels,
                    kernel_size,
                    padding=padding,
                    dilation=dilation,
                    bias=norm == "",
                    norm=get_norm(norm, out_channels),
                    activation=deepcopy(activation),
                )
            )

        def separable(dilation: int) -> DepthwiseSeparableConv2d:
            both = {f"norm{i}": norm for i in (1, 2)}
            both.update({f"activation{i}": deepcopy(activation) for i in (1, 2)})
            return DepthwiseSeparableConv2d(
                in_channels, out_channels, padding=dilation, dilation=dilation, **both
            )

        self.convs = nn.ModuleList([conv(in_channels, 1)])
        for dilation in dilations:
            atrous = separable(dilation) if use_depthwise_separable_conv else None
            self.convs.append(atrous or conv(in_channels, 3, dilation))
        if pool_kernel_size is None:
            pool: nn.Module = nn.AdaptiveAvgPool2d(1)
        else:
            pool = nn.AvgPool2d(kernel_size=pool_kernel_size, stride=1)
        pooled = Conv2d(in_channels, out_channels, 1, activation=deepcopy(activation))
        self.convs.append(nn.Sequential(pool, _xavier(pooled)))
        self.project = conv(5 * out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        window = self.pool_kernel_size
        if window is not None and (size[0] % window[0] or size[1] % window[1]):
            raise ValueError(
                "`pool_kernel_size` must be divisible by the shape of inputs. "
                f"Input size: {size} `pool_kernel_size`: {window}"
            )
        branches = [conv(x) for conv in self.convs]
        branches[-1] = F.interpolate(branches[-1], size=size, mode="bilinear", align_corners=False)
        projected = self.project(torch.cat(branches, dim=1))
        return F.dropout(projected, self.dropout, training=self.training)


def _xavier(convolution: Conv2d) -> Conv2d:
    weight_init.c2_xavier_fill(convolution)
    return convolution

"""An image encoder for photos that must be encoded quickly: a backbone and its maps.

Shapes: B images, H W image size, C channels, s stride of the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.modeling import Backbone

NORM_EPS = 1e-6


class PyramidEncoder(nn.Module):
    """The sum of coarse maps is the embedding; finer ones are details, as in SAM 2.

    In SAM 2 (Ravi et al., arXiv 2408.00714) they are added where masks are enlarged, so that edges
    need not be told by a map of stride s.

    Args:
        backbone: Detectron2 backbone.
        coarse: Its maps that are summed, the finest, of stride s, first.
        details: Its maps of strides s / 2 and s / 4.
        out_channels: C.

    Raises:
        ValueError: Details are of other strides.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        coarse: Sequence[str],
        details: Sequence[str],
        out_channels: int,
    ) -> None:
        super().__init__()
        shapes = backbone.output_shape()
        stride = shapes[coarse[0]].stride
        strides, wanted = [shapes[name].stride for name in details], [stride // 2, stride // 4]
        if strides != wanted:
            raise ValueError(f"details {list(details)} have strides {strides}, wanted {wanted}")
        self.backbone = backbone
        self.coarse, self.details = tuple(coarse), tuple(details)
        self.out_channels, self.detail_channels = (
            out_channels,
            (out_channels // 4, out_channels // 8),
        )
        self.lateral = nn.ModuleList(
            nn.Conv2d(shapes[name].channels, out_channels, 1) for name in coarse
        )
        self.neck = nn.Sequential(
            LayerNorm2d(out_channels, eps=NORM_EPS),
            nn.GELU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels, eps=NORM_EPS),
        )
        self.detail = nn.ModuleList(
            nn.Conv2d(shapes[name].channels, channels, 1)
            for name, channels in zip(details, self.detail_channels)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps [B, C, H/s, W/s], [B, C/4, 2H/s, 2W/s] and [B, C/8, 4H/s, 4W/s] of images.

        Args:
            images: Normalised, [B, 3, H, W].
        """
        maps = self.backbone(images)
        laterals = [layer(maps[name]) for layer, name in zip(self.lateral, self.coarse)]
        size = laterals[0].shape[-2:]
        enlarged = [
            F.interpolate(each, size, mode="bilinear", align_corners=False) for each in laterals[1:]
        ]
        embedding = self.neck(torch.stack([laterals[0], *enlarged]).sum(0))
        return embedding, *(layer(maps[name]) for layer, name in zip(self.detail, self.details))

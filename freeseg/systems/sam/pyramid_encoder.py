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
        top_down: Details are finer maps with all coarser ones below them, as in a feature pyramid
            network (Lin et al., arXiv 1612.03144), instead of the finer maps alone.

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
        top_down: bool = False,
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
        finer = [shapes[name].channels for name in details]
        self.top_down = TopDown(out_channels, finer, out_channels // 2) if top_down else None
        seen = [out_channels // 2] * 2 if top_down else finer
        self.detail = nn.ModuleList(
            nn.Conv2d(channels, out, 1) for channels, out in zip(seen, self.detail_channels)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps [B, C, H/s, W/s], [B, C/4, 2H/s, 2W/s] and [B, C/8, 4H/s, 4W/s] of images.

        Args:
            images: Normalised, [B, 3, H, W].
        """
        maps = self.backbone(images)
        laterals = [layer(maps[name]) for layer, name in zip(self.lateral, self.coarse)]
        enlarged = [_enlarged(each, laterals[0]) for each in laterals[1:]]
        coarse = torch.stack([laterals[0], *enlarged]).sum(0)  # [B, C, H/s, W/s]
        finer = [maps[name] for name in self.details]
        if self.top_down is not None:
            finer = self.top_down(coarse, finer)
        return self.neck(coarse), *(layer(each) for layer, each in zip(self.detail, finer))


class TopDown(nn.Module):
    """Carries a coarse map down to finer ones.

    Args:
        in_channels: C of the coarse map.
        finer_channels: Of the finer ones, each of half the stride of the one before.
        channels: D of what comes out.
    """

    def __init__(self, in_channels: int, finer_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(in_channels, channels, 1)
        self.lateral = nn.ModuleList(nn.Conv2d(each, channels, 1) for each in finer_channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                LayerNorm2d(channels, eps=NORM_EPS),
                nn.GELU(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in finer_channels
        )

    def forward(self, coarse: Tensor, finer: Sequence[Tensor]) -> list[Tensor]:
        """Maps [B, D, h, w] of the sizes of finer ones, each with all coarser ones in it."""
        found, above = [], self.coarse(coarse)
        for lateral, smooth, each in zip(self.lateral, self.smooth, finer):
            above = smooth(lateral(each) + _enlarged(above, each))
            found.append(above)
        return found


def _enlarged(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=False)

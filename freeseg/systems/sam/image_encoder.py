"""The image encoders: SAM's ViT of the trunk, and MobileSAM's TinyViT.

Shapes: B images, H W image size, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.layers import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

NORM_EPS = 1e-6  # of the neck


class MobileEncoder(TinyVit):
    """MobileSAM's image encoder (Zhang et al., arXiv 2306.14289): timm's TinyViT and SAM's neck.

    Its last merging keeps the size, so the map has a stride of 16.

    Args:
        widths: Of the four stages.
        depths: Blocks of each.
        num_heads: Of each; the first, of convolutions, has none.
        windows: Sides of their windows in pixels of their maps; likewise.
        out_channels: C.
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        num_heads: Sequence[int],
        windows: Sequence[int],
        out_channels: int = 256,
    ) -> None:
        super().__init__(
            num_classes=0,
            embed_dims=tuple(widths),
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_sizes=tuple(windows),
            drop_path_rate=0.0,
        )
        del self.head
        self.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.out_channels = out_channels
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], out_channels, 1, bias=False),
            LayerNorm2d(out_channels, eps=NORM_EPS),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels, eps=NORM_EPS),
        )
        # timm keeps what its attention computes of weights: new ones make it stale
        self.register_load_state_dict_post_hook(_forget_biases)

    def forward(self, images: Tensor) -> Tensor:
        """A map [B, C, H / 16, W / 16] of normalised images [B, 3, H, W]."""
        embedding: Tensor = self.neck(self.forward_features(images))
        return embedding


def _forget_biases(encoder: nn.Module, _: Any) -> None:
    encoder.train(encoder.training)

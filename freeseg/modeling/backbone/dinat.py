"""Dilated Neighborhood Attention Transformer (arXiv 2209.15001); its attention is natten's.

Shapes: B images, C channels, h w feature size.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from timm.layers import DropPath
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from freeseg.config import completed

NAMES = ("res2", "res3", "res4", "res5")
BIAS_ARGUMENTS = ("rel_pos_bias", "bias")  # what natten 0.15 to 0.17 and 0.14 call it
WANTED = "install a natten from 0.14 to 0.17 that fits your PyTorch (https://natten.org)"


class D2DiNAT(Backbone):
    """Feature pyramid of a DiNAT under the parameter names of OneFormer's release."""

    @configurable
    def __init__(
        self,
        *,
        channels: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        dilations: Sequence[Sequence[int]],
        hidden_ratio: float,
        drop_path_rate: float,
        out_features: Sequence[str],
        attention: Mapping[str, Any],
    ) -> None:
        """Builds the model.

        Args:
            channels: Width of the first level; each further one doubles it.
            depths: Blocks of the four levels.
            num_heads: Attention heads of the four levels.
            dilations: Of every block.
            hidden_ratio: Width of the feed-forward nets over that of their level.
            drop_path_rate: Stochastic depth of the last block; earlier ones have less.
            out_features: Maps to return, among res2 to res5.
            attention: Other arguments of natten's NeighborhoodAttention2D.

        Raises:
            ImportError: Without natten, or with one that cannot hold the published weights.
        """
        super().__init__()
        unknown = set(out_features) - set(NAMES)
        if unknown:
            raise ValueError(f"DiNAT has the maps {NAMES}, got {sorted(unknown)}")
        if [len(row) for row in dilations] != list(depths):
            raise ValueError(f"wanted {list(depths)} dilations, one per block, got {dilations}")
        build_attention = _neighborhood_attention()
        widths = [channels * 2**index for index in range(len(depths))]
        last = max(sum(depths) - 1, 1)
        rates = iter([drop_path_rate * block / last for block in range(sum(depths))])
        self.patch_embed = _PatchEmbed(channels)
        self.levels = nn.ModuleList()
        for index, width in enumerate(widths):
            blocks = [
                _Block(
                    build_attention(
                        dim=width, num_heads=num_heads[index], dilation=dilation, **attention
                    ),
                    width=width,
                    hidden=int(width * hidden_ratio),
                    drop_path=next(rates),
                )
                for dilation in dilations[index]
            ]
            self.levels.append(_Level(blocks, width, is_last=index == len(depths) - 1))
            self.add_module(f"norm{index}", nn.LayerNorm(width))
        self._out_features = list(out_features)
        self._out_feature_channels = dict(zip(NAMES, widths))
        self._out_feature_strides = {name: 4 * 2**index for index, name in enumerate(NAMES)}

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, object]:
        node = completed(cfg).MODEL.DiNAT
        return {
            "channels": node.EMBED_DIM,
            "depths": node.DEPTHS,
            "num_heads": node.NUM_HEADS,
            "dilations": node.DILATIONS,
            "hidden_ratio": node.MLP_RATIO,
            "drop_path_rate": node.DROP_PATH_RATE,
            "out_features": node.OUT_FEATURES,
            "attention": {
                "kernel_size": node.KERNEL_SIZE,
                "qkv_bias": node.QKV_BIAS,
                "qk_scale": node.QK_SCALE,
                "attn_drop": node.ATTN_DROP_RATE,
                "proj_drop": node.DROP_RATE,
            },
        }

    @property
    def size_divisibility(self) -> int:
        return 32

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps normalised images [B, 3, H, W] to {name: [B, C, H/stride, W/stride]}."""
        maps = {}
        x = self.patch_embed(images)  # [B, h, w, C]
        for index, level in enumerate(self.levels):
            x, refined = level(x)
            if NAMES[index] in self._out_features:
                normed = getattr(self, f"norm{index}")(refined)
                maps[NAMES[index]] = normed.permute(0, 3, 1, 2).contiguous()
        return maps


def _neighborhood_attention() -> Any:
    """The module of natten, with the relative position bias that published weights have."""
    try:
        from natten import NeighborhoodAttention2D
    except ImportError as error:
        raise ImportError(f"the backbone DiNAT needs the package natten: {WANTED}") from error
    known = inspect.signature(NeighborhoodAttention2D.__init__).parameters
    bias = next((name for name in BIAS_ARGUMENTS if name in known), None)
    if bias is None:
        raise ImportError(f"this natten has no relative position bias for DiNAT: {WANTED}")
    return partial(NeighborhoodAttention2D, **{bias: True})


class _PatchEmbed(nn.Module):
    """Two convolutions of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Conv2d(3, channels // 2, kernel_size=3, stride=2, padding=1),
            nn.Conv2d(channels // 2, channels, kernel_size=3, stride=2, padding=1),
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class _Level(nn.Module):
    """Blocks, and what halves the map for the next level."""

    def __init__(self, blocks: Sequence[nn.Module], width: int, *, is_last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = None if is_last else _Downsample(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The next level's input, and this one's map [B, h, w, C]."""
        for block in self.blocks:
            x = block(x)
        return (x if self.downsample is None else self.downsample(x)), x


class _Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class _Block(nn.Module):
    """Neighborhood attention and a feed-forward net, layer norm before each."""

    def __init__(self, attention: nn.Module, *, width: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = attention
        self.norm2 = nn.LayerNorm(width)
        layers = {"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)}
        self.mlp = nn.ModuleDict(layers)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, h, w, C] to [B, h, w, C]."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        hidden = nn.functional.gelu(self.mlp["fc1"](self.norm2(x)))
        return x + self.drop_path(self.mlp["fc2"](hidden))

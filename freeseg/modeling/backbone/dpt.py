"""The image side of DPT (Ranftl et al., arXiv 2103.13413): a ViT whose tokens become a pyramid.

Shapes: B images, H W image size, h w grid of patches, N = h * w of them, P tokens before them
(class token, registers), C width of the ViT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from freeseg.config import completed, vit_arguments
from freeseg.modeling.vit import (
    BEHIND,
    adds_positions,
    bilinear_positions,
    create_vit,
    cut_behind,
    tapped_tokens,
)

STRIDES = (4, 8, 16, 32)  # of the maps, for a patch size that is a power of two
READOUTS = ("project", "add", "ignore")


class DPTBackbone(Backbone):
    """Any ViT of timm, tapped after four blocks, as maps ``res2`` to ``res5``.

    Every tap is read out (the class token joins every patch token), brought to its own width and
    resampled. A patch size that is no power of two is treated like the nearest one: the maps of a
    patch size of 14 have strides 3.5 to 28. Names of weights are the release's.
    """

    @configurable
    def __init__(
        self,
        *,
        model: Any,
        taps: Sequence[int],
        channels: Sequence[int],
        readout: str = "project",
    ) -> None:
        """Puts the parts together.

        Args:
            model: A ViT of `create_vit`; what stands behind the last tap is taken off.
            taps: Numbers of four blocks, from 0.
            channels: Of the four maps.
            readout: What becomes of the class token: "project" (a linear layer reads it beside
                every patch token), "add" or "ignore".

        Raises:
            ValueError: When these do not fit together.
        """
        super().__init__()
        if not len(taps) == len(channels) == len(STRIDES) or sorted(set(taps)) != list(taps):
            raise ValueError(
                f"wanted {len(STRIDES)} taps in order and as many channels, "
                f"got {list(taps)} and {list(channels)}"
            )
        if taps[-1] >= len(model.blocks):
            raise ValueError(f"the ViT has {len(model.blocks)} blocks, taps are {list(taps)}")
        if readout not in READOUTS:
            raise ValueError(f"readout must be one of {', '.join(READOUTS)}, got {readout!r}")
        if readout != "ignore" and not model.num_prefix_tokens:
            raise ValueError(f"the ViT has no class token to {readout}: use the readout ignore")
        self.taps = tuple(taps)
        self.model = cut_behind(model, taps[-1])
        self.patch_size = int(model.patch_embed.patch_size[0])
        nominal = nearest_power_of_two(self.patch_size)
        for number, (width, stride) in enumerate(zip(channels, STRIDES), start=1):
            part = Reassemble(model.embed_dim, width, nominal / stride, readout)
            self.add_module(f"act_postprocess{number}", part)
        # the coarsest map must be half as large as the one before it
        self._divisibility = self.patch_size * max(1, STRIDES[-1] // nominal)
        self._out_features = ["res2", "res3", "res4", "res5"]
        self._out_feature_channels = dict(zip(self._out_features, channels))
        self._out_feature_strides = dict(zip(self._out_features, STRIDES))
        self._register_load_state_dict_pre_hook(self._forget_unused)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        cfg = completed(cfg)
        node = cfg.MODEL.DPT
        return {
            "model": create_vit(**vit_arguments(cfg)),
            "taps": node.TAPS,
            "channels": node.CHANNELS,
            "readout": node.READOUT,
        }

    @property
    def size_divisibility(self) -> int:
        return self._divisibility

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps normalised images [B, 3, H, W] to four maps; H, W are multiples of the patch."""
        grid = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        resize = bilinear_positions if adds_positions(self.model) else None
        taps = tapped_tokens(self.model, images, self.taps, resize)
        return {
            name: self.get_submodule(f"act_postprocess{number}")(tap.tokens, tap.prefix, grid)
            for number, (name, tap) in enumerate(zip(self._out_features, taps), 1)
        }

    def _forget_unused(self, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
        """Lets the weights of a whole ViT load: its last norm, its head, blocks behind the taps."""
        start = f"{prefix}model."
        for key in [key for key in state if key.startswith(start)]:
            part, number, *_rest = [*key[len(start) :].split("."), ""]
            is_behind = part == "blocks" and int(number) > self.taps[-1]
            if is_behind or part in BEHIND:
                del state[key]


class Reassemble(nn.Sequential):
    """One tap as a map; the numbers of the parts are the release's, 1 and 2 have no weights."""

    def __init__(self, in_channels: int, channels: int, scale: float, readout: str) -> None:
        """Builds the parts.

        Args:
            in_channels: C.
            channels: Of the map.
            scale: Its size relative to the grid of patches, a power of two.
            readout: See `DPTBackbone`.
        """
        parts: list[nn.Module] = [
            ReadoutProjection(in_channels) if readout == "project" else nn.Identity(),
            nn.Identity(),
            nn.Identity(),
            nn.Conv2d(in_channels, channels, kernel_size=1),
        ]
        if scale > 1:
            factor = int(scale)
            parts.append(nn.ConvTranspose2d(channels, channels, factor, stride=factor))
        elif scale < 1:
            parts.append(nn.Conv2d(channels, channels, 3, stride=int(1 / scale), padding=1))
        super().__init__(*parts)
        self.readout = readout

    def forward(self, tokens: Tensor, prefix: Tensor, grid: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """A map [B, channels, h * scale, w * scale] of tokens [B, N, C] and [B, P, C]."""
        if self.readout == "project":
            tokens = self[0](tokens, prefix[:, :1])
        elif self.readout == "add":
            tokens = tokens + prefix[:, :1]
        x = tokens.mT.unflatten(2, grid)  # [B, C, h, w]
        for part in list(self)[3:]:
            x = part(x)
        return x


class ReadoutProjection(nn.Module):
    """Every patch token beside the class token, through a linear layer and GELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU())

    def forward(self, tokens: Tensor, class_token: Tensor) -> Tensor:
        """Tokens [B, N, C] that have read the class token [B, 1, C]."""
        return self.project(torch.cat([tokens, class_token.expand_as(tokens)], dim=-1))


def nearest_power_of_two(number: int) -> int:
    """The power of two at the least distance: 16 for 14 and for 16."""
    below = 1 << (number.bit_length() - 1)
    return below if number - below <= 2 * below - number else 2 * below

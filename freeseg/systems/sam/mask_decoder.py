"""Turns an embedding and prompts into four masks of each object, with a quality each.

Shapes: N objects, P prompt tokens, C channels, g side of the grid of patches, M = 4 mask tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from freeseg.layers import MLP
from freeseg.modeling.decoder.two_way import TwoWayTransformer
from freeseg.systems.sam.prompt_encoder import NORM_EPS, EncodedPrompts

NUM_MASKS = 4  # one for several prompts, and three for a single one
MANY_PROMPTS = 3  # the release's tokens from which on the first mask is the answer
NEIGHBOURS = 7  # side of what a place is told about


class DecodedMasks(NamedTuple):
    """All four masks; the first is meant for several prompts, the others for a single one."""

    mask_logits: Tensor  # [N, M, 4g, 4g]
    qualities: Tensor  # [N, M], the overlap that each expects of itself, of any range


class MaskDecoder(nn.Module):
    """Two-way transformer, masks as products of tokens and pixels, a quality head.

    Args:
        transformer: Of C channels.
        channels: C, a multiple of eight.
        quality_layers: Of the quality head.
        quality_channels: Inside it.
        many_prompts: Tokens from which on the first mask is the answer; 0: always, and the other
            three are not used.
        mixes: Whether decoded pixels also see their neighbours, by a `Neighbourhood` at each of the
            three strides; a release's see only the prompts.

    Raises:
        ValueError: `many_prompts` would take the three from a single click or box alone.
    """

    def __init__(
        self,
        *,
        transformer: TwoWayTransformer,
        channels: int,
        quality_layers: int,
        quality_channels: int,
        many_prompts: int = MANY_PROMPTS,
        mixes: bool = False,
    ) -> None:
        from timm.layers import LayerNorm2d  # timm takes longer than the rest of this package

        super().__init__()
        if many_prompts != 0 and many_prompts < MANY_PROMPTS:
            raise ValueError(
                f"a click or a box has {MANY_PROMPTS - 1} tokens: many_prompts is 0 or from "
                f"{MANY_PROMPTS} on, got {many_prompts}"
            )
        self.many_prompts = many_prompts
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(NUM_MASKS, channels)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, channels // 4, 2, stride=2),
            LayerNorm2d(channels // 4, eps=NORM_EPS),
            nn.GELU(),
            nn.ConvTranspose2d(channels // 4, channels // 8, 2, stride=2),
            nn.GELU(),
        )
        widths = (channels, channels // 4, channels // 8) if mixes else ()
        self.mixing = nn.ModuleList(Neighbourhood(width) for width in widths)
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(
                in_channels=channels,
                hidden_channels=channels,
                out_channels=channels // 8,
                num_layers=3,
            )
            for _ in range(NUM_MASKS)
        )
        self.iou_prediction_head = MLP(
            in_channels=channels,
            hidden_channels=quality_channels,
            out_channels=NUM_MASKS,
            num_layers=quality_layers,
        )

    @property
    def for_one(self) -> slice:
        """Which of the masks are for a single prompt."""
        return slice(1, None) if self.many_prompts else slice(1)

    def forward(
        self,
        embedding: Tensor,
        positions: Tensor,
        prompts: EncodedPrompts,
        details: Sequence[Tensor] = (),
    ) -> DecodedMasks:
        """Decodes.

        Args:
            embedding: [N, C, g, g].
            positions: Of its pixels, [1, C, g, g].
            prompts: Of the N objects.
            details: See `upscale`.
        """
        tokens, pixels = self.transform(embedding, positions, prompts)
        upscaled = self.upscale(pixels.mT.unflatten(2, embedding.shape[-2:]), details, prompts.fine)
        heads = zip(self.output_hypernetworks_mlps, tokens[:, 1 : 1 + NUM_MASKS].unbind(1))
        filters = torch.stack([head(token) for head, token in heads], dim=1)  # [N, M, C/8]
        mask_logits = torch.einsum("nmc,nchw->nmhw", filters, upscaled)
        return DecodedMasks(mask_logits, self.iou_prediction_head(tokens[:, 0]))

    def upscale(
        self, pixels: Tensor, details: Sequence[Tensor], fine: Tensor | float = 0.0
    ) -> Tensor:
        """What masks are products with, [N, C/8, 4g, 4g], of decoded pixels [N, C, g, g].

        Args:
            pixels: See above.
            details: None, or what is added on the way, [N, C/4, 2g, 2g] and [N, C/8, 4g, 4g].
            fine: Likewise, of prompts, see `EncodedPrompts`.
        """
        half, norm, act, quarter, last = self.output_upscaling
        finer, finest = details or (0.0, 0.0)
        mixing = self.mixing or [nn.Identity()] * 3
        doubled = mixing[1](act(norm(half(mixing[0](pixels)) + finer)))
        upscaled: Tensor = mixing[2](last(quarter(doubled) + finest + fine))
        return upscaled

    def transform(
        self, embedding: Tensor, positions: Tensor, prompts: EncodedPrompts
    ) -> tuple[Tensor, Tensor]:
        """Tokens [N, 1 + M + P, C], quality and masks first, and pixels [N, g * g, C]."""
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # [1 + M, C]
        tokens = torch.cat([own.expand(len(embedding), -1, -1), prompts.tokens], dim=1)
        there = None
        if not prompts.there.all():
            there = torch.cat([prompts.there.new_ones(len(embedding), len(own)), prompts.there], 1)
        pixels = (embedding + prompts.dense).flatten(2).mT  # [N, g * g, C]
        found: tuple[Tensor, Tensor] = self.transformer(
            tokens, pixels, positions.flatten(2).mT, there
        )
        return found


class Neighbourhood(nn.Module):
    """Tells every place of a map about those around it; in the beginning it tells nothing.

    A separable convolution beside the map, as in MobileNets and ConvNeXt.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(
            channels, channels, NEIGHBOURS, padding=NEIGHBOURS // 2, groups=channels
        )
        self.act = nn.GELU()
        self.across = nn.Conv2d(channels, channels, 1)
        for parameter in self.across.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] of such."""
        told: Tensor = maps + self.across(self.act(self.around(maps)))
        return told


def choose(qualities: Tensor, num_tokens: Tensor, many_prompts: int = MANY_PROMPTS) -> Tensor:
    """Which of the four masks answers, int64 [N], by the release's rule.

    Parity: that of its exported decoder: one click or one box has several readings, of which the
    best is taken; more has one, which is the first mask.

    Args:
        qualities: [N, M].
        num_tokens: int64 [N], of the sparse tokens, the one that says "no box" among them.
        many_prompts: As of `MaskDecoder`.
    """
    best = qualities[:, 1:].argmax(1) + 1
    return torch.where(num_tokens >= many_prompts, 0, best)

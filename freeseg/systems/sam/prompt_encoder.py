"""Turns points, corners and masks into tokens and a map.

Shapes: N objects, P points, C channels, g side of the grid of patches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from freeseg.layers import FourierPosition
from freeseg.systems.sam.prompts import NO_POINT, PADDING, PointPrompts

NORM_EPS = 1e-6


class EncodedPrompts(NamedTuple):
    """What the decoder reads of prompts."""

    tokens: Tensor  # [N, P, C]
    there: Tensor  # bool [N, P], False for rows that are filled up
    dense: Tensor  # [N, C, g, g], or [1, C, 1, 1] where no object has a mask


class PromptEncoder(nn.Module):
    """Positions by random waves, kinds of points by learned vectors, masks by convolutions.

    Args:
        channels: C, a multiple of two.
        mask_channels: Inside the convolutions of masks.
    """

    def __init__(self, *, channels: int, mask_channels: int = 16) -> None:
        from timm.layers import LayerNorm2d  # timm takes longer than the rest of this package

        super().__init__()
        self.pe_layer = FourierPosition(channels=channels)
        # off the object, on it, corners of a box: by their labels
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 2, stride=2),
            LayerNorm2d(mask_channels // 4, eps=NORM_EPS),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2),
            LayerNorm2d(mask_channels, eps=NORM_EPS),
            nn.GELU(),
            nn.Conv2d(mask_channels, channels, 1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def forward(self, prompts: PointPrompts, side: int) -> EncodedPrompts:
        """Encodes prompts about a square of `side` pixels."""
        return EncodedPrompts(
            self.embed_points(prompts.points, prompts.labels, side),
            prompts.labels != PADDING,
            self.embed_masks(prompts),
        )

    def embed_points(self, points: Tensor, labels: Tensor, side: int) -> Tensor:
        """Tokens [N, P, C] of points [N, P, 2] with labels [N, P].

        Parity: a label that is none of the release's gives a bare position.
        """
        tokens = self.pe_layer((points + 0.5) / side)
        tokens = tokens.masked_fill((labels < 0)[..., None], 0.0)
        kinds: dict[int, Any] = {NO_POINT: self.not_a_point_embed}
        kinds.update(enumerate(self.point_embeddings))
        for label, embedding in kinds.items():
            tokens = tokens + (labels == label)[..., None] * embedding.weight[0]
        return tokens

    def embed_masks(self, prompts: PointPrompts) -> Tensor:
        """What masks add to the map: [N, C, g, g], or [1, C, 1, 1] where there is none."""
        absent = self.no_mask_embed.weight[..., None, None]  # [1, C, 1, 1]
        if prompts.mask_logits is None:
            return absent
        if prompts.has_mask is None:
            embedded: Tensor = self.mask_downscaling(prompts.mask_logits)
            return embedded
        has_mask = prompts.has_mask[:, None, None, None]
        given = torch.where(has_mask, prompts.mask_logits, 0.0)
        return torch.where(has_mask, self.mask_downscaling(given), absent)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Positions [1, C, h, w] of the patches of a grid (h, w)."""
        device = self.no_mask_embed.weight.device
        rows, columns = ((torch.arange(side, device=device) + 0.5) / side for side in grid)
        places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # [h, w, 2]
        return self.pe_layer(places).permute(2, 0, 1)[None]

"""Turns points, corners, phrases and masks into tokens and a map.

Shapes: N objects, P points, C channels, g side of the grid of patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.layers import FourierPosition
from freeseg.structures.marks import OFF, ON
from freeseg.systems.sam.prompts import BOTTOM_RIGHT, NO_POINT, TOP_LEFT, PointPrompts

NORM_EPS = 1e-6
REACH = 1 / 16  # of a drawn point, as a share of the square's side
DRAWN = 4  # maps


class EncodedPrompts(NamedTuple):
    """What the decoder reads of prompts."""

    tokens: Tensor  # [N, P, C]
    there: Tensor  # bool [N, P], False for rows that are filled up
    dense: Tensor  # [N, C, g, g], or [1, C, 1, 1] where no object has a mask
    fine: Tensor | float = 0.0  # [N, C/8, 4g, 4g], of prompts that are drawn


class PromptEncoder(nn.Module):
    """Positions by random waves, kinds of points by learned vectors, masks by convolutions.

    Args:
        channels: C, a multiple of two.
        mask_channels: Inside the convolutions of masks.
        content_channels: Of all maps of an image together, for points that also say what it is
            like where they are, which the release's do not; 0: they do not.
        draws_maps: Whether points and boxes are also drawn and seen by convolutions, as other
            interactive systems have it (RITM, arXiv 2102.06583), but not the release.
        text_channels: Of phrases, which become a token by a linear layer; 0: it takes none.
    """

    def __init__(
        self,
        *,
        channels: int,
        mask_channels: int = 16,
        content_channels: int = 0,
        draws_maps: bool = False,
        text_channels: int = 0,
    ) -> None:
        super().__init__()
        self.pe_layer = FourierPosition(channels=channels)
        # off the object, on it, corners of a box: by their labels
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = _downscaling(1, mask_channels, channels)
        if draws_maps:
            self.map_downscaling = _downscaling(DRAWN, mask_channels, channels)
            self.fine = nn.Conv2d(DRAWN, channels // 8, 3, padding=1)
        self.no_mask_embed = nn.Embedding(1, channels)
        self.draws_maps = draws_maps
        self.content = nn.Linear(content_channels, channels) if content_channels else None
        self.text = nn.Linear(text_channels, channels) if text_channels else None
        if self.text is not None:  # of unit vectors: the tokens are as large as all others
            nn.init.normal_(self.text.weight)

    def forward(self, prompts: PointPrompts, side: int, maps: Sequence[Tensor]) -> EncodedPrompts:
        """Encodes prompts about squares of `side` pixels, of which `maps` [N, c, h, w] are."""
        tokens = self.embed_points(prompts.points, prompts.labels, side, maps)
        if prompts.phrases is not None:
            assert self.text is not None
            phrases = self.text(prompts.phrases.nan_to_num())  # [N, C]
            tokens = torch.cat([tokens, phrases[:, None]], dim=1)
        there, dense = prompts.there, self.embed_masks(prompts)
        if not self.draws_maps:
            return EncodedPrompts(tokens, there, dense)
        size = 4 * maps[0].shape[-2], 4 * maps[0].shape[-1]
        drawn = drawn_maps(prompts, size, side)
        return EncodedPrompts(tokens, there, dense + self.map_downscaling(drawn), self.fine(drawn))

    def embed_points(
        self, points: Tensor, labels: Tensor, side: int, maps: Sequence[Tensor]
    ) -> Tensor:
        """Tokens [N, P, C] of points [N, P, 2] with labels [N, P].

        Parity: a label that is none of the release's gives a bare position.

        Args:
            points: (x, y) in pixels of the square.
            labels: See `freeseg.systems.sam.prompts`.
            side: Of the square, in pixels.
            maps: Of every object's square, each [N, c, h, w]; [1, c, h, w]: they share it.
        """
        tokens = self.pe_layer((points + 0.5) / side)
        if self.content is not None:
            is_click = (labels == OFF) | (labels == ON)
            tokens = tokens + self.content(_read_at(maps, points / side)) * is_click[..., None]
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


def _downscaling(in_channels: int, mask_channels: int, channels: int) -> nn.Sequential:
    """Makes [N, C, h/4, w/4] of maps [N, in_channels, h, w]."""
    from timm.layers import LayerNorm2d  # timm takes longer than the rest of this package

    return nn.Sequential(
        nn.Conv2d(in_channels, mask_channels // 4, 2, stride=2),
        LayerNorm2d(mask_channels // 4, eps=NORM_EPS),
        nn.GELU(),
        nn.Conv2d(mask_channels // 4, mask_channels, 2, stride=2),
        LayerNorm2d(mask_channels, eps=NORM_EPS),
        nn.GELU(),
        nn.Conv2d(mask_channels, channels, 1),
    )


def drawn_maps(prompts: PointPrompts, size: tuple[int, int], side: int) -> Tensor:
    """What is off, on, in the box and in the mask of N objects, in [0, 1], as maps [N, 4, h, w].

    A point fades with its distance, a box is filled, a mask is a probability; all are 0 where
    nothing is said.

    Args:
        prompts: Of the objects.
        size: (h, w).
        side: Of the square, in pixels.
    """
    points, labels = prompts.points, prompts.labels
    rows, columns = (
        (torch.arange(cells, device=points.device) + 0.5) * (side / cells) for cells in size
    )
    down = rows - points[..., 1:]  # [N, P, h]
    right = columns - points[..., :1]  # [N, P, w]
    distance = torch.hypot(down[..., None], right[..., None, :])  # [N, P, h, w]
    near = torch.exp(-distance / (REACH * side))
    maps = [(near * _of(labels, label)).amax(1) for label in (OFF, ON)]
    after = ((down >= 0)[..., None] & (right >= 0)[..., None, :]) & _of(labels, TOP_LEFT)
    before = ((down < 0)[..., None] & (right < 0)[..., None, :]) & _of(labels, BOTTOM_RIGHT)
    maps += [(after.any(1) & before.any(1)).float(), _probability(prompts, maps[0])]
    return torch.stack(maps, dim=1)


def _probability(prompts: PointPrompts, like: Tensor) -> Tensor:
    """Of masks [N, h, w], 0 where there is none."""
    if prompts.mask_logits is None:
        return torch.zeros_like(like)
    inside = prompts.mask_logits[:, 0].sigmoid()
    if prompts.has_mask is None:
        return inside
    return torch.where(prompts.has_mask[:, None, None], inside, 0.0)


def _of(labels: Tensor, label: int) -> Tensor:
    """Bool [N, P, 1, 1] of labels [N, P]."""
    return (labels == label)[..., None, None]


def _read_at(maps: Sequence[Tensor], places: Tensor) -> Tensor:
    """All channels [N, P, sum of c] of maps [N, c, h, w] at places [N, P, 2], in [0, 1]."""
    grid = 2 * places[:, None] - 1  # [N, 1, P, 2]
    if len(maps[0]) == 1:  # one image for all
        grid = grid.reshape(1, 1, -1, 2)
    found = [F.grid_sample(each, grid, align_corners=False) for each in maps]
    values = torch.cat(found, dim=1).flatten(2).mT  # [1, N * P, sum of c], or [N, P, sum of c]
    return values.reshape(*places.shape[:2], values.shape[-1])

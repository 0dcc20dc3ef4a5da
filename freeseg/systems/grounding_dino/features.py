"""What Grounding DINO keeps of an image: tokens of all levels, not yet touched by any text.

Shapes: B images, L levels, S tokens of all levels, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.layers.position import padded_sine_position
from freeseg.structures import Frame, ImageFeatures
from freeseg.systems.grounding_dino.initial import fill

GROUPS = 32  # of the norms of levels


@dataclass(frozen=True, eq=False)
class TokenFeatures(ImageFeatures):
    """Images as the enhancer reads them.

    Attributes:
        tokens: [B, S, C], fine to coarse, rows first.
        positions: [B, S, C], of the level among them.
        valid_ratios: [B, L, 2], the share (of width, of height) of every level that is picture.
        sizes: (height, width) of every level.
        padding: Bool [B, S], True where there is no picture; None: nowhere.
    """

    tokens: Tensor
    positions: Tensor
    valid_ratios: Tensor
    sizes: tuple[tuple[int, int], ...]
    padding: Tensor | None = None

    def shapes(self) -> tuple[Tensor, Tensor]:
        """int64 [L, 2], (height, width) of every level, and [L], where it starts."""
        return _shapes(self.sizes, self.tokens.device)

    def of_picture(self, places: Tensor) -> Tensor:
        """Places [S, 2] in shares of a level as [B, S, 2] in shares of the picture on it."""
        counts = [height * width for height, width in self.sizes]
        per_level = places.split(counts)
        return torch.cat(
            [each / self.valid_ratios[:, None, level] for level, each in enumerate(per_level)], 1
        )


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def _shapes(sizes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    shapes = torch.tensor(sizes, dtype=torch.int64)
    counts = shapes.prod(1)
    return shapes.to(device), (counts.cumsum(0) - counts).to(device)


class Levels(nn.Module):
    """Makes tokens of a backbone's maps; further levels are made of the last one.

    Args:
        in_channels: Of the backbone's maps, fine to coarse.
        channels: C.
        num_levels: L.
        temperature: Of the positions.
    """

    def __init__(
        self, *, in_channels: Sequence[int], channels: int, num_levels: int, temperature: float
    ) -> None:
        super().__init__()
        if num_levels < len(in_channels):
            raise ValueError(f"{len(in_channels)} maps make at least as many levels")
        projections = [nn.Conv2d(width, channels, 1) for width in in_channels]
        widths = [in_channels[-1], *[channels] * num_levels]
        for _, width in zip(range(num_levels - len(in_channels)), widths):
            projections.append(nn.Conv2d(width, channels, 3, stride=2, padding=1))
        self.input_proj = nn.ModuleList(
            nn.Sequential(each, nn.GroupNorm(GROUPS, channels)) for each in projections
        )
        self.level_embed = nn.Parameter(torch.empty(num_levels, channels))
        self.temperature = temperature
        nn.init.normal_(self.level_embed)
        fill(*projections)

    def forward(self, maps: Sequence[Tensor], frames: Sequence[Frame]) -> TokenFeatures:
        """Tokens of maps [B, c, h, w], fine to coarse, of images that lie so in their padding."""
        levels: list[Tensor] = []
        for number, project in enumerate(self.input_proj):
            if number < len(maps):
                source = maps[number]
            else:  # the first further level sees the backbone's own last map
                source = maps[-1] if number == len(maps) else levels[-1]
            levels.append(project(source))
        whole = _padding(frames, levels[0].device)  # [B, 1, H, W]
        paddings = [F.interpolate(whole, each.shape[-2:])[:, 0].bool() for each in levels]
        positions = [
            padded_sine_position(
                padding, level.shape[1], temperatures=(self.temperature, self.temperature)
            ).flatten(2)
            + embedding[:, None]
            for level, padding, embedding in zip(levels, paddings, self.level_embed)
        ]
        is_padded = any(frame.padded_size != frame.model_size for frame in frames)
        return TokenFeatures(
            tuple(frames),
            tokens=torch.cat([level.flatten(2) for level in levels], dim=2).mT,
            positions=torch.cat(positions, dim=2).mT,
            valid_ratios=torch.stack([_valid_ratio(padding) for padding in paddings], dim=1),
            sizes=tuple((level.shape[-2], level.shape[-1]) for level in levels),
            padding=torch.cat([each.flatten(1) for each in paddings], 1) if is_padded else None,
        )


def _padding(frames: Sequence[Frame], device: torch.device) -> Tensor:
    """Float [B, 1, H, W], 1 where what the model saw is no picture."""
    return torch.stack([frame.padding() for frame in frames])[:, None].float().to(device)


def _valid_ratio(padding: Tensor) -> Tensor:
    """Share (of width, of height) [B, 2] of a level [B, h, w] that is picture."""
    return torch.stack([(~padding[:, 0]).float().mean(1), (~padding[:, :, 0]).float().mean(1)], 1)

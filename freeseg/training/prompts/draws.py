"""Random numbers for N masks, and pixels of masks that are drawn by them.

Shapes: N masks, K numbers of each, H W photo size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from freeseg.ops.masks import mask_areas

Generators = torch.Generator | Sequence[torch.Generator]  # for all masks, or one of each

LARGEST = 2**62  # of whole numbers; so far above any count that a remainder is uniform


def draw_whole(generators: Generators, masks: Tensor, count: int) -> Tensor:
    """Whole numbers, int64 [N, K], uniform in 0..2^62-1, on the device of the masks."""

    def draw(generator: torch.Generator, rows: int) -> Tensor:
        device = generator.device
        return torch.randint(LARGEST, (rows, count), generator=generator, device=device)

    return _by_rows(generators, masks, draw)


def draw_normal(generators: Generators, masks: Tensor, count: int) -> Tensor:
    """Numbers, float32 [N, K], of the standard normal distribution, on the device of the masks."""

    def draw(generator: torch.Generator, rows: int) -> Tensor:
        return torch.randn(rows, count, generator=generator, device=generator.device)

    return _by_rows(generators, masks, draw)


def pick_pixels(masks: Tensor, numbers: Tensor) -> Tensor:
    """Pixels of masks by whole numbers, each pixel by as many as any other.

    Args:
        masks: Bool [N, H, W].
        numbers: Int64 [N, K], 0 or more.

    Returns:
        Int64 [N, K, 2], (column, row); (0, 0) in an empty mask.
    """
    row_counts = mask_areas(masks.flatten(0, 1)[:, None]).view(masks.shape[:2])  # [N, H]
    areas = row_counts.sum(1, keepdim=True)
    rank = numbers % areas.clamp(min=1)  # [N, K]
    row_ends = row_counts.cumsum(1)
    row = torch.searchsorted(row_ends, rank, right=True).clamp(max=masks.shape[1] - 1)
    rank = rank - (row_ends - row_counts).gather(1, row)
    lines = masks[torch.arange(len(masks), device=masks.device)[:, None], row]  # [N, K, W]
    ends = lines.cumsum(2)
    column = torch.searchsorted(ends, rank[..., None], right=True)[..., 0]
    pixels = torch.stack([column, row], dim=-1)
    return torch.where(areas[..., None] > 0, pixels, 0)


def require_masks(masks: Tensor) -> None:
    """Refuses what are no bool masks [N, H, W]."""
    if masks.dim() != 3 or masks.dtype != torch.bool:
        raise ValueError(f"wanted bool masks [N, H, W], got {masks.dtype} {tuple(masks.shape)}")


def is_filled(masks: Tensor) -> Tensor:
    """Bool [N], whether bool masks [N, H, W] have a pixel; many times faster than any()."""
    return masks.flatten(1).view(torch.uint8).amax(1).bool()


def _by_rows(
    generators: Generators, masks: Tensor, draw: Callable[[torch.Generator, int], Tensor]
) -> Tensor:
    if isinstance(generators, torch.Generator):
        return draw(generators, len(masks)).to(masks.device)
    if len(generators) != len(masks):
        raise ValueError(f"{len(generators)} generators for {len(masks)} masks: wanted one of each")
    none = draw(torch.Generator(), 0).to(masks.device)
    return torch.cat([none, *(draw(generator, 1).to(masks.device) for generator in generators)])

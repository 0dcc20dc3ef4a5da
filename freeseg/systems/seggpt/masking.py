"""Which patches of a canvas are hidden in training: blocks of them, or all of the query.

Shapes: 2h w rows and columns of patches of a canvas.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK_AREA = (16 / 1568, 392 / 1568)  # of the release's 56 x 28 patches; here a share of any grid
BLOCK_ASPECT = (0.3, 1 / 0.3)  # rows by columns
TRIES = 100  # to place a block, before patches are hidden one by one


def block_mask(
    grid: tuple[int, int],
    count: int,
    generator: torch.Generator,
    *,
    area: tuple[float, float] = BLOCK_AREA,
    aspect: tuple[float, float] = BLOCK_ASPECT,
) -> Tensor:
    """Hides exactly `count` patches, bool [2h, w], in blocks (BEiT, arXiv 2106.08254, section 2.3).

    Blocks of random area, shape and place are laid over one another until there are enough; then
    single patches, drawn at random, are added or taken away.

    Args:
        grid: (2h, w).
        count: Of hidden patches.
        generator: Of all chance.
        area: Least and largest of a block, as a share of the grid.
        aspect: Least and largest ratio of its rows to its columns; drawn by its logarithm.

    Raises:
        ValueError: `count` is below 0 or above the number of patches.
    """
    total = math.prod(grid)
    if not 0 <= count <= total:
        raise ValueError(f"wanted 0 to {total} hidden patches of {grid}, got {count}")
    hidden = torch.zeros(grid, dtype=torch.bool)
    for _ in range(TRIES):
        missing = count - int(hidden.sum())
        if missing < area[0] * total:
            break
        largest = min(area[1] * total, missing)
        rows, columns = _block((area[0] * total, largest), aspect, generator)
        if rows <= grid[0] and columns <= grid[1]:
            top = whole(grid[0] - rows + 1, generator)
            left = whole(grid[1] - columns + 1, generator)
            hidden[top : top + rows, left : left + columns] = True
    return _exactly(hidden, count, generator)


def lower_half(grid: tuple[int, int]) -> Tensor:
    """Hides the query, bool [2h, w]: what a canvas hides when it is to be answered."""
    hidden = torch.zeros(grid, dtype=torch.bool)
    hidden[grid[0] // 2 :] = True
    return hidden


def _block(
    area: tuple[float, float], aspect: tuple[float, float], generator: torch.Generator
) -> tuple[int, int]:
    """Rows and columns of a random block, each at least 1."""
    size = uniform(*area, generator)
    ratio = math.exp(uniform(math.log(aspect[0]), math.log(aspect[1]), generator))
    return max(1, round(math.sqrt(size * ratio))), max(1, round(math.sqrt(size / ratio)))


def _exactly(hidden: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The mask with random patches hidden or shown, until `count` are hidden."""
    surplus = int(hidden.sum()) - count
    places = (hidden if surplus > 0 else ~hidden).flatten().nonzero()[:, 0]
    order = torch.randperm(len(places), generator=generator)
    changed = hidden.flatten().clone()
    changed[places[order[: abs(surplus)]]] ^= True
    return changed.view_as(hidden)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number from `low` to `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def whole(end: int, generator: torch.Generator) -> int:
    """A whole number from 0 to below `end`."""
    return int(torch.randint(end, (), generator=generator))

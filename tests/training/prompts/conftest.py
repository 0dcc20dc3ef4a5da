"""Masks of many shapes, and generators."""

from __future__ import annotations

import pytest
import torch

SIZE = (23, 31)


def blobs(count: int, seed: int = 0) -> torch.Tensor:
    """Bool [N, H, W]: boxes with holes and specks, which may touch the border."""
    draw = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, *SIZE, dtype=torch.bool)
    for mask in masks:
        y, x = (int(torch.randint(side - 8, (1,), generator=draw)) for side in SIZE)
        h, w = (int(torch.randint(2, 20, (1,), generator=draw)) for _ in range(2))
        mask[y : y + h, x : x + w] = True
        mask &= torch.rand(SIZE, generator=draw) < 0.93
        mask |= torch.rand(SIZE, generator=draw) < 0.01
        mask[y, x] = True
    return masks


@pytest.fixture(name="blobs", scope="session")
def _blobs():
    return blobs


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


@pytest.fixture(name="seeded", scope="session")
def _seeded():
    return seeded

"""Hidden patches: how many, in what blocks, and where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from freeseg.systems.seggpt.masking import block_mask, lower_half

GRID = (56, 28)


def masks(count, number=60, grid=GRID, **options):
    generator = torch.Generator().manual_seed(2)
    return [block_mask(grid, count, generator, **options) for _ in range(number)]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 784, 1500, 1568])
def test_exactly_so_many_are_hidden(count):
    for mask in masks(count, 8):
        assert (mask.shape, mask.dtype, int(mask.sum())) == (GRID, torch.bool, count)


@pytest.mark.parametrize("grid", [(2, 1), (4, 2), (8, 4), (16, 8)])
def test_small_grids_have_masks_too(grid):
    half = grid[0] * grid[1] // 2
    assert {int(mask.sum()) for mask in masks(half, 20, grid)} == {half}


def test_masks_are_blocks():
    """Few connected parts; as many single patches at random make hundreds."""
    parts = [label(mask.numpy())[1] for mask in masks(784)]
    assert np.mean(parts) < 25
    scattered = torch.rand(GRID, generator=torch.Generator().manual_seed(0)) < 0.5
    assert label(scattered.numpy())[1] > 60


def test_a_single_block_has_the_area_and_shape_that_are_said():
    """Of a count that one block fills: its sides are the square roots of area and ratio."""
    for mask in masks(100, 100, area=(100 / 1568, 100 / 1568), aspect=(4.0, 4.0)):
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert (len(rows), len(columns)) == (20, 5)
        assert rows.max() - rows.min() == 19
        assert columns.max() - columns.min() == 4


def test_every_patch_of_both_halves_is_hidden_as_often_as_its_mirror():
    share = torch.stack(masks(784, 400)).float().mean(0)
    assert abs(share[:28].mean() - share[28:].mean()) < 0.03
    assert abs(share[:, :14].mean() - share[:, 14:].mean()) < 0.03
    assert share.min() > 0  # corners the least: few blocks have them


def test_chance_is_the_generators():
    first, again = masks(784, 3), masks(784, 3)
    assert all(a.equal(b) for a, b in zip(first, again))
    assert not first[0].equal(first[1])


def test_the_lower_half_is_the_query():
    assert lower_half((4, 2)).tolist() == [[False] * 2] * 2 + [[True] * 2] * 2


@pytest.mark.parametrize("count", [-1, 9])
def test_more_than_there_are_cannot_be_hidden(count):
    with pytest.raises(ValueError, match=rf"wanted 0 to 8 hidden patches of \(4, 2\), got {count}"):
        block_mask((4, 2), count, torch.Generator())

"""Small regions are those of a flood fill over the whole mask."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeseg.inference.small_regions import without_small_regions
from freeseg.structures import Runs


def regions_by_hand(region):
    """Sets of (row, column) of a bool map that touch, at corners too."""
    left = {(int(row), int(column)) for row, column in zip(*np.nonzero(region))}
    found = []
    while left:
        waiting, members = [left.pop()], set()
        while waiting:
            row, column = waiting.pop()
            members.add((row, column))
            around = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
            near = around & left
            left -= near
            waiting += near
        found.append(members)
    return found


def mended_by_hand(mask, min_area):
    mask, changed = mask.copy(), False
    for members in regions_by_hand(~mask):
        if len(members) < min_area:
            changed = True
            mask[tuple(zip(*members))] = True
    islands = regions_by_hand(mask)
    small = [members for members in islands if len(members) < min_area]
    if small:
        changed = True
        if len(small) == len(islands):
            small.remove(max(small, key=len))
        for members in small:
            mask[tuple(zip(*members))] = False
    return mask, changed


@pytest.mark.parametrize("min_area", [1, 2, 5, 12, 60])
@pytest.mark.parametrize("density", [0.1, 0.3, 0.45, 0.6, 0.9])
def test_regions_are_those_of_a_flood_fill(density, min_area):
    generator = np.random.default_rng(int(density * 100) + min_area)
    masks = generator.random((8, 21, 17)) < density
    masks[:4, :, :6] = masks[:4, 14:] = False  # room around
    found, changed = without_small_regions(Runs.of_masks(torch.from_numpy(masks)), min_area)
    for number, mask in enumerate(masks):
        expected, is_changed = mended_by_hand(mask, min_area)
        if regions_have_one_largest(mask, min_area):
            np.testing.assert_array_equal(found.mask(number), expected)
        assert changed[number] == is_changed


def regions_have_one_largest(mask, min_area):
    """Whether it is said which island stays where all are small."""
    filled = mask.copy()
    for members in regions_by_hand(~mask):
        if len(members) < min_area:
            filled[tuple(zip(*members))] = True
    sizes = sorted(map(len, regions_by_hand(filled)))
    return not sizes or sizes[-1] >= min_area or sizes.count(sizes[-1]) == 1


def test_empty_and_full_masks_stay():
    masks = torch.stack([torch.zeros(9, 9), torch.ones(9, 9)]).bool()
    found, changed = without_small_regions(Runs.of_masks(masks), 20)
    assert torch.equal(found.masks(), masks)
    assert changed.tolist() == [False, False]

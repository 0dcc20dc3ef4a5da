"""Runs are what COCO's tools make of the same masks, one at a time, and give the masks back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as rle_codec

from freeseg.ops import mask_boxes
from freeseg.structures import Runs


def random_masks(seed: int, count: int = 7, size: tuple[int, int] = (11, 8)) -> torch.Tensor:
    """Of all densities; the first is empty, the second full, the third a corner of each side."""
    generator = torch.Generator().manual_seed(seed)
    density = torch.linspace(0.05, 0.95, count)[:, None, None]
    masks = torch.rand(count, *size, generator=generator) < density
    masks[0], masks[1] = False, True
    masks[2] = False
    masks[2, 0, 0] = masks[2, -1, -1] = True
    return masks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(11, 8), (1, 6), (6, 1), (1, 1)])
def test_masks_come_back_with_their_areas_and_boxes(seed, size):
    masks = random_masks(seed, size=size)
    runs = Runs.of_masks(masks)
    assert runs.shape == (7, *size)
    assert torch.equal(runs.masks(), masks)
    assert runs.areas().tolist() == masks.flatten(1).sum(1).tolist()
    assert torch.equal(runs.boxes(), mask_boxes(masks))


def test_the_code_is_that_of_cocos_tools():
    masks = random_masks(5, count=20, size=(23, 17))
    runs = Runs.of_masks(masks)
    for number, mask in enumerate(masks.numpy()):
        code = {"size": [23, 17], "counts": runs.counts(number)}
        expected = rle_codec.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rle_codec.frPyObjects(code, 23, 17) == expected


@pytest.mark.parametrize(
    "window", [(0, 0, 8, 11), (3, 0, 11, 11), (3, 2, 11, 13), (0, 5, 8, 16), (4, 4, 12, 15)]
)
@pytest.mark.parametrize("seed", range(3))
def test_masks_of_a_window_stand_in_its_place_of_the_photo(seed, window):
    masks = random_masks(seed)
    left, top, right, bottom = window
    size = (max(bottom, 11 if top == 0 else 16), 14)
    expected = torch.zeros(len(masks), *size, dtype=torch.bool)
    expected[:, top:bottom, left:right] = masks
    placed = Runs.of_masks(masks).placed(window, size)
    assert torch.equal(placed.masks(), expected)
    fresh = Runs.of_masks(expected)
    assert torch.equal(placed.spans, fresh.spans)
    assert torch.equal(placed.splits, fresh.splits)


@pytest.mark.parametrize(
    "chosen",
    [torch.tensor([4, 1, 1, 0]), torch.arange(7) % 2 == 0, slice(2, 5), 3, torch.zeros(7).bool()],
    ids=["indices", "mask", "slice", "one", "none"],
)
def test_some_of_them_and_several_joined(chosen):
    masks = random_masks(2)
    runs = Runs.of_masks(masks)
    taken = masks[chosen].reshape(-1, 11, 8)
    assert torch.equal(runs[chosen].masks(), taken)
    joined = Runs.joined([runs[chosen], runs], (11, 8))
    assert torch.equal(joined.masks(), torch.cat([taken, masks]))
    assert len(Runs.joined([], (11, 8))) == 0
    assert Runs.joined([], (11, 8)).masks().shape == (0, 11, 8)


def test_a_later_mask_is_painted_over_an_earlier_one():
    masks = random_masks(3)
    order = [1, 6, 4, 0, 2]
    expected = torch.zeros(11, 8, dtype=torch.int32)
    for number in order:
        expected[masks[number]] = number + 1
    assert torch.equal(Runs.of_masks(masks).number_map(order), expected)


def test_hundreds_of_masks_take_the_memory_of_their_outlines():
    rows, columns = torch.meshgrid(torch.arange(600), torch.arange(800), indexing="ij")
    disc = ((rows - 300) ** 2 + (columns - 400) ** 2 < 250**2)[None]
    runs = Runs.joined([Runs.of_masks(disc)] * 300, (600, 800))
    assert runs.nbytes < 0.01 * 300 * disc.nbytes
    assert torch.equal(runs.mask(299), disc[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda runs: Runs.of_masks(torch.zeros(2, 3, 4)), "wanted bool masks"),
        (lambda runs: runs.mask(7), "wanted one of 7 masks, got number 7"),
        (lambda runs: runs.placed((0, 0, 8, 10), (20, 20)), "do not fill"),
        (lambda runs: runs.placed((9, 9, 17, 20), (20, 16)), "do not fill"),
        (lambda runs: Runs.joined([runs], (3, 3)), r"wanted runs of \(3, 3\)"),
        (lambda runs: Runs((3, 3), runs.spans[0], runs.splits), "wanted spans"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises((ValueError, IndexError), match=message):
        wrong(Runs.of_masks(random_masks(1)))

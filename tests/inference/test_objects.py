"""Masks of objects as results, and at the size at which a model sees them."""

from __future__ import annotations

import torch

from freeseg.inference.objects import masks_at, objects_of_masks


def squares(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (12, 16)) -> torch.Tensor:
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    return masks


def test_a_mask_is_an_object_with_a_box_around_it():
    found = objects_of_masks(squares((2, 3, 7, 9), (0, 0, 0, 0)), torch.tensor([0.5, 0.0]))
    assert found.boxes.tolist() == [[2, 3, 7, 9], [0, 0, 0, 0]]
    assert (found.owners.tolist(), found.choices.tolist()) == ([0, 1], [0, 0])
    assert found.labels is None
    nothing = objects_of_masks(squares(), torch.zeros(0))
    assert nothing.boxes.shape == (0, 4)


def test_a_pixel_is_what_lies_at_its_centre():
    small = masks_at(squares((2, 3, 8, 9)), (4, 4))  # centres at 1.5, 4.5, ... and 2, 6, ...
    assert small[0].nonzero().tolist() == [[1, 0], [1, 1], [2, 0], [2, 1]]
    assert torch.equal(masks_at(small, (4, 4)), small)
    assert masks_at(squares(), (4, 4)).shape == (0, 4, 4)


def test_what_lies_between_all_centres_is_not_lost():
    tiny = squares((3, 0, 4, 1), (15, 11, 16, 12), (0, 0, 0, 0))
    found = masks_at(tiny, (4, 4))
    assert [mask.nonzero().tolist() for mask in found] == [[[0, 0]], [[3, 3]], []]

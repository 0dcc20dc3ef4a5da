"""Masks of what is to change: how they grow, what is around them, which are refused."""

from __future__ import annotations

import numpy as np
import pytest

from freeseg.editing import grown
from freeseg.editing.masks import read_masks, window_around


def grown_one_by_one(mask: np.ndarray, pixels: int) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    result = np.zeros_like(mask)
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            distances = (rows - row) ** 2 + (columns - column) ** 2
            result[row, column] = (distances <= pixels**2).any()
    return result


@pytest.mark.parametrize("pixels", [0, 1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("share", [0.002, 0.05, 0.9])
@pytest.mark.parametrize("size", [(1, 1), (1, 23), (31, 17), (40, 40)])
def test_a_mask_grows_by_a_disc(size, share, pixels) -> None:
    mask = np.random.default_rng(pixels).random(size) < share
    mask[0, -1] = True  # at the edge, and never empty
    before = mask.copy()
    np.testing.assert_array_equal(grown(mask, pixels), grown_one_by_one(mask, pixels))
    np.testing.assert_array_equal(mask, before)


def test_an_empty_mask_stays_empty() -> None:
    assert not grown(np.zeros((5, 7), bool), 3).any()


def test_masks_do_not_shrink() -> None:
    with pytest.raises(ValueError, match="0 pixels or more, got -1"):
        grown(np.ones((5, 7), bool), -1)


def test_a_window_is_the_mask_and_a_margin_that_ends_with_the_photo() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4, 10] = mask[8, 13] = True
    assert window_around(mask, 0) == (slice(4, 9), slice(10, 14))
    assert window_around(mask, 3) == (slice(1, 12), slice(7, 17))
    assert window_around(mask, 5, 1) == (slice(0, 14), slice(9, 15))
    assert window_around(mask, 99) == (slice(0, 20), slice(0, 30))


def test_one_mask_is_several_of_one() -> None:
    mask = np.eye(4, 6, dtype=bool)
    np.testing.assert_array_equal(read_masks(mask, (4, 6)), mask[None])
    assert read_masks(np.zeros((3, 4, 6), bool), (4, 6)).shape == (3, 4, 6)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((4, 6), np.uint8), "masks of bool, got uint8: mask > 0 makes one"),
        (np.zeros((6, 4), bool), r"masks \[4, 6\] or \[N, 4, 6\] .* got \[6, 4\]"),
        (np.zeros((1, 1, 4, 6), bool), r"got \[1, 1, 4, 6\]"),
        (np.zeros(6, bool), r"got \[6\]"),
    ],
    ids=["numbers", "turned", "too many axes", "too few axes"],
)
def test_other_masks_are_refused(masks, message) -> None:
    with pytest.raises(ValueError, match=message):
        read_masks(masks, (4, 6))

"""J, F and their statistics: by hand, and by searching all pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from freeseg.evaluation.clips.measures import (
    boundary,
    contour_accuracy,
    decay_of,
    recall_of,
    region_similarity,
    widened,
)


def box(top, left, bottom, right, size=(100, 100)):
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


EMPTY, FULL = np.zeros((100, 100), bool), np.ones((100, 100), bool)


def test_regions_by_hand():
    assert region_similarity(box(0, 0, 10, 10), box(5, 0, 15, 10)) == 50 / 150
    assert region_similarity(EMPTY, EMPTY) == 1
    assert region_similarity(EMPTY, box(0, 0, 1, 1)) == region_similarity(FULL, EMPTY) == 0


def slow_boundary(mask):
    height, width = mask.shape
    found = np.zeros_like(mask)
    for row in range(height):
        for column in range(width):
            for down, across in ((0, 1), (1, 0), (1, 1)):
                # a neighbour outside is the nearest one inside
                other = mask[min(row + down, height - 1), min(column + across, width - 1)]
                found[row, column] |= other != mask[row, column]
    return found


def slow_accuracy(found, truth):
    """By the distance of every pixel of one boundary to every one of the other."""
    drawn, true = (np.argwhere(slow_boundary(mask)) for mask in (found, truth))
    apart = np.linalg.norm(drawn[:, None] - true, axis=-1)
    reach = math.ceil(0.008 * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2))
    precision, recall = (apart.min(1) <= reach).mean(), (apart.min(0) <= reach).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("seed", range(6))
def test_contours_by_all_distances(seed):
    generator = np.random.default_rng(seed)
    size = (23, 31) if seed % 2 else (130, 14)  # within 1 and within 2 pixels
    truth = np.zeros(size, bool)
    for _ in range(4):
        top, left = generator.integers(0, size[0] - 5), generator.integers(0, size[1] - 5)
        height, width = generator.integers(2, size[0] // 2), generator.integers(2, 15)
        truth[top : top + height, left : left + width] ^= True
    found = np.roll(truth, generator.integers(-2, 3, 2), (0, 1))
    found[:, size[1] // 2 :] ^= generator.random((size[0], size[1] - size[1] // 2)) < 0.01
    np.testing.assert_array_equal(boundary(truth), slow_boundary(truth))
    assert contour_accuracy(found, truth) == pytest.approx(slow_accuracy(found, truth), abs=1e-12)
    assert 0 < slow_accuracy(found, truth) < 1


@pytest.mark.parametrize(("size", "reach"), [((100, 100), 2), ((480, 854), 8), ((60, 80), 1)])
def test_boundaries_are_the_same_within_so_many_pixels(size, reach):
    """A line from top to bottom; the diagonals are 141.4, 979.6 and 100 pixels."""
    truth = box(0, 0, size[0], 40, size)
    assert contour_accuracy(box(0, 0, size[0], 40 - reach, size), truth) == 1
    assert contour_accuracy(box(0, 0, size[0], 39 - reach, size), truth) == 0


def test_half_of_a_boundary_by_hand():
    """Of 100 rows 40 agree, then the found boundary steps aside by 40 pixels."""
    truth, found = box(0, 0, 100, 40), box(0, 0, 100, 80)
    found[:40, 40:] = False
    # column 39 down to row 38, row 39 from there to column 79, column 79 from row 40 on
    assert np.count_nonzero(boundary(found)) == 39 + 41 + 60
    # within 2 pixels of column 39: 39 of the first, 3 of the step; of the truth rows 0 to 41
    precision, recall = 42 / 140, 42 / 100
    expected = 2 * precision * recall / (precision + recall)
    assert contour_accuracy(found, truth) == pytest.approx(expected)


def test_masks_without_boundary():
    assert contour_accuracy(EMPTY, EMPTY) == contour_accuracy(FULL, EMPTY) == 1
    assert contour_accuracy(EMPTY, box(5, 5, 9, 9)) == contour_accuracy(box(5, 5, 9, 9), FULL) == 0


def test_a_pixel_widens_to_a_disk():
    mask = np.zeros((21, 21), bool)
    mask[10, 10] = True
    rows, columns = np.mgrid[-10:11, -10:11]
    for reach in (1, 2, 8):
        np.testing.assert_array_equal(widened(mask, reach), np.hypot(rows, columns) <= reach)


def test_recall_is_above_one_half():
    assert recall_of([0.5, 0.51, 0.2, 1.0]) == 0.5


@pytest.mark.parametrize("count", [1, 2, 5, 8, 23, 66, 256, 257, 700])
def test_decay_is_first_minus_last_quarter(count):
    values = np.random.default_rng(count).random(count).tolist()
    ends = np.floor(np.linspace(1, count, 5) + 0.5).astype(int) - 1
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    assert decay_of(values) == pytest.approx(np.mean(first) - np.mean(last))


def test_decay_of_a_long_clip_is_not_cut_off_at_256_frames():
    assert decay_of([1.0] * 300 + [0.25] * 300) == 0.75

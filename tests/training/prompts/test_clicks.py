"""Clicks lie where they should: by brute force over pixels, and uniformly by chi-square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from freeseg.structures import Marks
from freeseg.training.prompts import Clicks, deepest_error_point, error_point, sample_point

LEAST_P = 0.01  # seeds are fixed: these are no tests that fail by chance


def one(*rows: str) -> torch.Tensor:
    return torch.tensor([[[cell == "#" for cell in row] for row in rows]])


def pixels(clicks: Clicks) -> torch.Tensor:
    """(column, row) of centres of pixels."""
    assert ((clicks.points - 0.5) % 1 == 0).all()
    return (clicks.points - 0.5).long()


def at(masks: torch.Tensor, clicks: Clicks) -> list[bool]:
    return [bool(mask[y, x]) for mask, (x, y) in zip(masks, pixels(clicks).tolist())]


def test_a_point_is_the_centre_of_a_pixel_of_its_mask(blobs, seeded):
    masks = blobs(60)
    for seed in range(5):
        clicks = sample_point(masks, *seeded(seed))
        assert all(at(masks, clicks))
        assert clicks.signs.tolist() == [1] * 60
        assert (clicks.points.dtype, clicks.signs.dtype) == (torch.float32, torch.int64)
    lonely = torch.zeros(1, 9, 9, dtype=torch.bool)
    lonely[0, 3, 5] = True
    assert sample_point(lonely, *seeded(0)).points.tolist() == [[5.5, 3.5]]


def test_points_are_marks(blobs, seeded):
    masks = blobs(3)
    clicks = sample_point(masks, *seeded(0))
    size = tuple(masks.shape[1:])
    marks = Marks.read(size, points=clicks.points[:, None], signs=clicks.signs[:, None])
    assert torch.equal(marks.points[:, 0], clicks.points)


def test_points_are_uniform_in_the_mask(blobs, seeded):
    mask = blobs(1, seed=8)[0]
    many = mask.expand(20000, -1, -1)
    found = pixels(sample_point(many, *seeded(0)))
    counts = torch.zeros_like(mask, dtype=torch.int64)
    counts.index_put_((found[:, 1], found[:, 0]), torch.ones(len(found)).long(), accumulate=True)
    assert chisquare(counts[mask].numpy()).pvalue > LEAST_P


def test_points_of_errors_are_uniform_in_them_with_their_sign(blobs, seeded):
    mask, guess = blobs(1, seed=2)[0], blobs(1, seed=3)[0]
    wrong = mask ^ guess
    assert (mask & ~guess).any()
    assert (guess & ~mask).any()
    shape = (20000, -1, -1)
    clicks = error_point(mask.expand(shape), guess.expand(shape), *seeded(0))
    found = pixels(clicks)
    counts = torch.zeros_like(mask, dtype=torch.int64)
    counts.index_put_((found[:, 1], found[:, 0]), torch.ones(len(found)).long(), accumulate=True)
    assert counts[~wrong].sum() == 0
    assert chisquare(counts[wrong].numpy()).pvalue > LEAST_P
    assert torch.equal(clicks.signs, mask[found[:, 1], found[:, 0]].long())


CASES = {
    "missing": (("####", "####"), ("#...", "####"), 1),
    "too much": (("#...", "...."), ("#...", "..#."), 0),
    "nothing wrong": (("#...", "...."), ("#...", "...."), 1),
    "nothing there": (("....", "...."), ("####", "####"), -1),
    "nothing at all": (("....", "...."), ("....", "...."), -1),
}


@pytest.mark.parametrize(("mask", "guess", "sign"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("is_training", [True, False])
def test_signs_say_which_error_it_is(mask, guess, sign, is_training, seeded):
    (generator,) = seeded(0)
    clicks = error_point(one(*mask), one(*guess), generator if is_training else None)
    assert clicks.signs.tolist() == [sign]
    wrong = one(*mask) ^ one(*guess)
    if sign == -1:
        assert clicks.points.tolist() == [[0, 0]]
    else:
        assert at(wrong if wrong.any() else one(*mask), clicks) == [True]


def test_empty_masks_have_absent_points(blobs, seeded):
    masks = blobs(3)
    masks[1] = False
    clicks = sample_point(masks, *seeded(0))
    assert clicks.signs.tolist() == [1, -1, 1]
    assert clicks.points[1].tolist() == [0, 0]


def depth(region: np.ndarray, y: int, x: int) -> float:
    """Distance from a pixel to the nearest one outside the region, or the photo: all are tried."""
    framed = np.pad(region, 1)
    outside = np.argwhere(~framed)
    squares = ((outside - (y + 1, x + 1)) ** 2).sum(1)
    return float(np.sqrt(squares.min()))


def deepest(region: np.ndarray) -> tuple[float, tuple[int, int]]:
    found = [(depth(region, y, x), (x, y)) for y, x in np.argwhere(region).tolist()]
    return max(found, key=lambda row: row[0], default=(0.0, (0, 0)))


def test_the_deepest_point_of_the_worse_error_is_that_of_brute_force(blobs):
    masks, guesses = blobs(40, seed=4), blobs(40, seed=5)
    clicks = deepest_error_point(masks, guesses)
    signs = set()
    for row, (mask, guess) in enumerate(zip(masks.numpy(), guesses.numpy())):
        missing, extra = deepest(mask & ~guess), deepest(guess & ~mask)
        expected = missing if missing[0] > extra[0] else extra
        signs.add(int(clicks.signs[row]))
        assert tuple(pixels(clicks)[row].tolist()) == expected[1]
        assert clicks.signs[row] == int(missing[0] > extra[0])
    assert signs == {0, 1}


def test_the_first_click_is_the_deepest_of_the_object(blobs):
    masks = blobs(20, seed=6)
    for guesses in (torch.zeros_like(masks), masks):
        clicks = deepest_error_point(masks, guesses)
        expected = [deepest(mask)[1] for mask in masks.numpy()]
        assert [tuple(point) for point in pixels(clicks).tolist()] == expected
        assert clicks.signs.tolist() == [1] * 20


def test_the_borders_of_the_photo_are_outside():
    full = torch.ones(1, 5, 7, dtype=torch.bool)
    clicks = deepest_error_point(full, ~full)
    assert clicks.points.tolist() == [[2.5, 2.5]]


def test_of_equal_errors_what_is_too_much_is_clicked():
    mask, guess = one("##..", "##.."), one("..##", "..##")
    assert deepest_error_point(mask, guess).signs.tolist() == [0]


def test_a_pixel_is_not_clicked_twice(blobs):
    masks = blobs(5, seed=7)
    guesses, clicked = torch.zeros_like(masks), torch.zeros_like(masks)
    depths = []
    for _ in range(6):
        clicks = deepest_error_point(masks, guesses, clicked)
        assert not any(at(clicked, clicks))
        assert all(at(masks, clicks))
        for number, (x, y) in enumerate(pixels(clicks).tolist()):
            clicked[number, y, x] = True
        depths.append(depth(masks[0].numpy(), *pixels(clicks)[0].flip(0).tolist()))
    assert depths == sorted(depths, reverse=True)


@pytest.mark.parametrize("is_missing", [True, False])
def test_of_a_thin_error_every_pixel_is_clicked_once(is_missing):
    error, rest = one(".#####."), one("#......")
    mask, guess = (error | rest, rest) if is_missing else (rest, error | rest)
    clicked, found = torch.zeros_like(mask), []
    for _ in range(5):
        clicks = deepest_error_point(mask, guess, clicked)
        assert clicks.signs.tolist() == [int(is_missing)]
        ((x, y),) = pixels(clicks).tolist()
        clicked[0, y, x] = True
        found.append(x)
    assert found == [1, 2, 3, 4, 5]


def test_masks_and_predictions_of_unlike_shapes_are_refused(blobs, seeded):
    masks = blobs(2)
    for call in (
        lambda other: error_point(masks, other, *seeded(0)),
        lambda other: error_point(masks, other, None),
        lambda other: deepest_error_point(masks, masks, other),
    ):
        with pytest.raises(ValueError, match=r"masks of one shape, got \[2, 23, 31\] and \[2, 22"):
            call(masks[:, 1:])
        with pytest.raises(ValueError, match=r"wanted bool masks \[N, H, W\], got torch.float32"):
            call(masks.float())
    for generator in (*seeded(0), None):
        with pytest.raises(ValueError, match=r"wanted bool masks \[N, H, W\], got torch.float32"):
            error_point(masks.float(), masks, generator)

"""Where the next click goes: by hand, and against a search over all pairs of pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeseg.evaluation.pointing import next_click, overlap
from freeseg.structures.marks import ABSENT, OFF, ON


def masks(*rows: str) -> torch.Tensor:
    """One mask [1, H, W] of lines with # where it is set."""
    return torch.tensor([[letter == "#" for letter in row] for row in rows])[None]


def slow_click(truth, predicted, ignored, clicked):
    """The published protocol in words: (x, y, sign) in whole pixels, None where nothing is wrong.

    The photo is padded by one; a pixel's depth is the distance to the nearest pixel that is not of
    its kind of error; where one has clicked it is 0.
    """
    height, width = truth.shape

    def depths(error):
        outside = [
            (y, x)
            for y in range(-1, height + 1)
            for x in range(-1, width + 1)
            if not (0 <= y < height and 0 <= x < width and error[y, x])
        ]
        found = np.zeros(truth.shape)
        for y, x in zip(*np.nonzero(error)):
            found[y, x] = min(np.hypot(y - v, x - u) for v, u in outside)
        found[clicked] = 0
        return found

    missing, extra = depths(truth & ~predicted & ~ignored), depths(predicted & ~truth & ~ignored)
    if not missing.any() and not extra.any():
        return None
    is_missing = missing.max() > extra.max()
    best = missing if is_missing else extra
    y, x = next((y, x) for y in range(height) for x in range(width) if best[y, x] == best.max())
    return x, y, ON if is_missing else OFF


def test_clicks_are_those_of_the_protocol():
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        size = (4, *generator.integers(3, 12, 2))
        coarse = generator.random((4, 3, 3)) < 0.5
        truth, predicted, ignored, clicked = (
            np.kron(each, np.ones((4, 4), bool))[: size[1], : size[2]] for each in coarse
        )
        truth = truth ^ (generator.random(truth.shape) < 0.05)
        truth[0, 0], ignored[0, 0] = True, False  # no object is empty
        clicked = clicked & (generator.random(truth.shape) < 0.2)
        expected = slow_click(truth, predicted, ignored, clicked)
        given = [torch.from_numpy(each)[None] for each in (truth, predicted, clicked)]
        clicks = next_click(given[0], given[1], torch.from_numpy(ignored), given[2])
        seen.add(None if expected is None else expected[2])
        if expected is None:
            assert clicks.signs.tolist() == [ABSENT]
        else:
            x, y, sign = expected
            assert clicks.points.tolist() == [[x + 0.5, y + 0.5]]
            assert clicks.signs.tolist() == [sign]
    assert seen == {ON, OFF, None}


def test_the_first_click_is_the_pixel_farthest_from_the_outside():
    truth = masks(".......", ".#####.", ".#####.", ".#####.", ".#####.", ".#####.", ".......")
    clicks = next_click(truth, torch.zeros_like(truth))
    assert clicks.points.tolist() == [[3.5, 3.5]]
    assert clicks.signs.tolist() == [ON]


def test_of_equal_errors_the_one_too_much_is_clicked():
    truth, predicted = masks("##...", "##..."), masks("...##", "...##")
    clicks = next_click(truth, predicted)
    assert clicks.points.tolist() == [[3.5, 0.5]]
    assert clicks.signs.tolist() == [OFF]


def test_what_is_not_judged_is_neither_right_nor_wrong():
    truth, predicted = masks("####.."), masks("###...")
    ignored = masks("...#..")[0]
    assert next_click(truth, predicted, ignored).signs.tolist() == [ABSENT]
    assert overlap(truth, predicted, ignored).tolist() == [1.0]
    assert overlap(truth, predicted).tolist() == [0.75]
    everything = torch.ones_like(ignored)
    assert overlap(truth, predicted, everything).tolist() == [1.0]


def test_a_pixel_is_not_clicked_twice():
    truth, clicked = masks("#.#"), masks("#..")
    nothing = torch.zeros_like(truth)
    assert next_click(truth, nothing, None, clicked).points.tolist() == [[2.5, 0.5]]
    assert next_click(truth, nothing, None, truth).signs.tolist() == [ABSENT]


def test_masks_of_unlike_shapes_are_refused():
    with pytest.raises(ValueError, match="masks of one shape"):
        next_click(masks("##"), masks("###"))

"""Edges of one pixel: maxima of drawn ridges, and thinning beside its rules written out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from freeseg.ops.edges import ridges, thinned


def thinned_by_hand(mask):
    """Pixel by pixel, with the names of Guo and Hall."""
    mask = np.pad(mask, 1)
    while True:
        before = mask.copy()
        for is_second in (False, True):
            gone = []
            for y, x in np.argwhere(mask):
                east, north, west, south = (
                    mask[y, x + 1], mask[y - 1, x], mask[y, x - 1], mask[y + 1, x]
                )  # fmt: skip
                ne, nw, sw, se = (
                    mask[y - 1, x + 1], mask[y - 1, x - 1], mask[y + 1, x - 1], mask[y + 1, x + 1]
                )  # fmt: skip
                crossings = sum(
                    [
                        not east and (ne or north),
                        not north and (nw or west),
                        not west and (sw or south),
                        not south and (se or east),
                    ]
                )
                one = int(east or ne) + int(north or nw) + int(west or sw) + int(south or se)
                two = int(ne or north) + int(nw or west) + int(sw or south) + int(se or east)
                blocked = (ne or north or not se) and east
                if is_second:
                    blocked = (sw or south or not nw) and west
                if crossings == 1 and 2 <= min(one, two) <= 3 and not blocked:
                    gone.append((y, x))
            for place in gone:
                mask[place] = False
        if (mask == before).all():
            return mask[1:-1, 1:-1]


@pytest.mark.parametrize("seed", range(6))
def test_thinning_is_that_of_its_rules(seed):
    noise = np.random.default_rng(seed).normal(size=(34, 41))
    mask = cv2.GaussianBlur(noise, (0, 0), 1.0 + seed / 3) > 0
    np.testing.assert_array_equal(thinned(mask), thinned_by_hand(mask))


def test_thinning_keeps_what_is_connected_and_is_done_at_once():
    mask = cv2.GaussianBlur(np.random.default_rng(9).normal(size=(80, 90)), (0, 0), 3) > 0
    thin = thinned(mask)
    assert not (thin & ~mask).any()
    count = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]
    assert cv2.connectedComponents(thin.astype(np.uint8), connectivity=8)[0] == count
    np.testing.assert_array_equal(thinned(thin), thin)
    blocks = thin[1:, 1:] & thin[:-1, 1:] & thin[1:, :-1] & thin[:-1, :-1]
    assert not blocks.any()


def test_a_line_stays_and_a_bar_becomes_one():
    line = np.zeros((9, 20), bool)
    line[4, 3:17] = True
    np.testing.assert_array_equal(thinned(line), line)
    bar = np.zeros((9, 20), bool)
    bar[3:6, 2:18] = True
    thin = thinned(bar)
    assert thin[4, 4:16].all()
    assert not np.delete(thin, 4, axis=0)[:, 4:16].any()


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 135, 160])
def test_of_a_ridge_its_crest_is_left(degrees):
    rows, columns = np.mgrid[:61, :61] - 30.0
    angle = np.radians(degrees)
    distance = columns * np.cos(angle) + rows * np.sin(angle)  # from the crest through the middle
    strengths = np.exp(-(distance**2) / 8).astype(np.float32)
    found = ridges(strengths)
    inside = (strengths > 0.05) & (np.hypot(rows, columns) < 25)
    assert not found[inside & (np.abs(distance) > 1)].any()
    crest = inside & (np.abs(distance) < 0.4)
    np.testing.assert_array_equal(found[crest], strengths[crest])


def test_nothing_has_no_ridge():
    assert not ridges(np.zeros((12, 15), np.float32)).any()

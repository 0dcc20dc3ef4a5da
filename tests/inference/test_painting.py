"""Tiles of the output, what each of them reads, and which classes may win in it."""

from __future__ import annotations

import itertools

import pytest
import torch

from freeseg.inference import Resizing, class_scores
from freeseg.inference.painting import SIDE, Range, Rivals, flags, join_masks, paint, tiles


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


SIZES = [
    ((4, 5), (16, 20), (16, 20), (16, 20)),
    ((4, 5), (16, 20), (15, 18), (40, 33)),
    ((6, 9), (24, 36), (24, 36), (7, 5)),
    ((1, 3), (4, 12), (3, 9), (5, 11)),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("height", "width"), [(1, 0), (7, 0), (4, 9), (9, 4), (100, 0)])
def test_tiles_have_every_pixel_once_and_read_what_they_need(sizes, height, width):
    resizing = Resizing.of(*sizes)
    maps = torch.randn(2, *sizes[0])
    whole = resizing.rows @ maps @ resizing.columns.T
    found, corners = torch.full_like(whole, torch.nan), []
    for tile in tiles(resizing, height, width):
        assert found[(slice(None), *tile.target)].isnan().all()
        window = maps[(slice(None), *tile.source)]
        found[(slice(None), *tile.target)] = tile.rows @ window @ tile.columns.T
        assert tile.area == found[(0, *tile.target)].numel()
        for matrix in (tile.rows, tile.columns):
            assert matrix[:, 0].any(), "the first pixel that is read counts"
            assert matrix[:, -1].any(), "so does the last"
        corners.append((tile.target[0].start, tile.target[1].start))
    torch.testing.assert_close(found, whole)
    rows, columns = range(0, sizes[-1][0], height), range(0, sizes[-1][1], width or height)
    assert corners == list(itertools.product(rows, columns))


def test_without_a_wish_tiles_are_squares_of_96():
    size = (200, 100)
    found = [tile.target for tile in tiles(Resizing.of(size, size, size, size))]
    sides = [((rows.start, rows.stop), (columns.start, columns.stop)) for rows, columns in found]
    assert SIDE == 96
    assert sides == list(itertools.product([(0, 96), (96, 192), (192, 200)], [(0, 96), (96, 100)]))


class Notes:
    """Wants one mask of each tile and writes down what it is shown."""

    def __init__(self, query):
        self.query, self.shown = query, []

    def wanted(self, tile, bounds):
        self.low, self.high = bounds.low, bounds.high
        return flags(bounds, torch.tensor([self.query]))

    def paint(self, tile, bounds, probs, place):
        assert torch.equal(bounds.high, self.high)
        self.shown.append((tile.target, len(probs), probs[place[self.query]], self.low, self.high))


def test_painters_are_shown_their_masks_within_their_bounds():
    sizes = SIZES[1]
    resizing, logits = Resizing.of(*sizes), 3 * torch.randn(5, *sizes[0])
    whole = (resizing.rows @ logits @ resizing.columns.T).sigmoid()
    painters = [Notes(3), Notes(1), Notes(3)]
    paint(painters, logits, resizing, side=12)
    for painter in painters:
        assert len(painter.shown) == 4 * 3
        for target, count, probs, low, high in painter.shown:
            assert count == 2, "of five masks two are wanted"
            torch.testing.assert_close(probs, whole[painter.query][target])
            every = whole[(slice(None), *target)].flatten(1)
            assert (low <= every.amin(1) + 1e-6).all()
            assert (high >= every.amax(1) - 1e-6).all()


@pytest.mark.parametrize("seed", range(20))
def test_rivals_are_the_classes_that_win_somewhere_within_the_bounds(seed):
    """Against all corners of the bounds: scores are linear, so extremes are there."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(4, 6, generator=generator, dtype=torch.float64) ** 3
    ends = torch.rand(2, 4, generator=generator, dtype=torch.float64).sort(0).values
    low = ends[0]
    high = low + (ends[1] - low) * 0.5
    corners = torch.cartesian_prod(*torch.stack([low, high], 1).unbind())  # [16, Q]
    scores = corners @ weights  # [16, K]
    leader = (low @ weights).argmax()
    may_lead = (scores - scores[:, leader, None]).amax(0) >= 0
    rivals = Rivals.among(weights, Range(low, high))
    assert rivals.classes.tolist() == may_lead.nonzero()[:, 0].tolist()
    assert set(scores.argmax(1).tolist()) <= set(rivals.classes.tolist())
    if len(rivals.classes) == 1:
        assert rivals.weights.shape == (0, 1)
    else:
        torch.testing.assert_close(rivals.weights, weights[rivals.queries][:, rivals.classes])
        probs = corners[7][:, None, None].expand(-1, 2, 3)
        found = rivals.scores(probs[rivals.queries])
        assert found.shape == (len(rivals.classes), 2, 3)
        torch.testing.assert_close(found[:, 1, 2], scores[7, rivals.classes], atol=1e-6, rtol=0)


def test_masks_that_cannot_matter_are_left_out_of_the_sum():
    weights = torch.tensor([[0.5, 0.6], [1.0, 0.9], [0.7, 0.7]])
    bounds = Range(torch.tensor([0.1, 0.1, 0.0]), torch.tensor([0.9, 0.8, 1e-9]))
    assert Rivals.among(weights, bounds).queries.tolist() == [0, 1]
    bounds.high[2] = 1e-6
    assert Rivals.among(weights, bounds).queries.tolist() == [0, 1, 2]


def test_classes_of_equal_scores_are_both_rivals():
    weights = torch.tensor([[0.5, 0.2, 0.5], [0.25, 0.1, 0.25]])
    bounds = Range(torch.tensor([0.1, 0.1]), torch.tensor([0.9, 0.8]))
    assert Rivals.among(weights, bounds).classes.tolist() == [0, 2]


def test_what_is_no_number_leaves_a_tile_its_classes():
    bounds = Range(torch.full((2,), torch.nan), torch.full((2,), torch.nan))
    rivals = Rivals.among(torch.tensor([[0.5, 0.2], [0.2, 0.9]]), bounds)
    assert rivals.classes.tolist() == [0, 1]
    assert rivals.queries.tolist() == [0, 1]


def test_masks_are_joined_from_the_tiles_that_have_them():
    resizing = Resizing.of((6, 8), (6, 8), (6, 8), (6, 8))
    masks = torch.rand(5, 6, 8) > 0.5
    masks[3] = False
    parts = []
    for number, tile in enumerate(tiles(resizing, 4, 3)):
        present = torch.tensor([[0, 2, 4], [4, 1], [2]][number % 3])
        parts.append((tile, present, masks[present][(slice(None), *tile.target)]))
    rows = torch.tensor([4, 0, 3, 4, 1])
    wanted = torch.zeros(5, 6, 8, dtype=torch.bool)
    for tile, present, part in parts:
        for query, piece in zip(present.tolist(), part):
            for index, row in enumerate(rows.tolist()):
                if row == query:
                    wanted[(index, *tile.target)] = piece
    assert torch.equal(join_masks(parts, rows, 5, (6, 8)), wanted)
    assert wanted[0].any()
    assert not wanted[2].any()


def test_flags_are_true_for_some():
    bounds = Range(torch.rand(4), torch.rand(4))
    found = flags(bounds, torch.tensor([2, 0]))
    assert found.dtype == torch.bool
    assert found.tolist() == [True, False, True, False]
    assert not flags(bounds, torch.zeros(0, dtype=torch.int64)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(3, 9000), (9000, 3), (100, 83)])
def test_scores_are_summed_in_strips_of_any_shape(size, dtype):
    resizing = Resizing.of((2, 3), (4, 6), (4, 5), size)
    resizing = resizing.to(torch.zeros(0, dtype=dtype))
    weights, logits = torch.rand(4, 2, dtype=dtype), torch.randn(4, 2, 3, dtype=dtype)
    probs = (resizing.rows @ logits @ resizing.columns.T).sigmoid()
    wanted = torch.einsum("qk,qhw->khw", weights, probs)
    found = class_scores(weights, logits, resizing)
    assert found.dtype == dtype
    torch.testing.assert_close(found, wanted)

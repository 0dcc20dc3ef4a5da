"""The noise of boxes has SAM's size, and leaves boxes that are boxes."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest, norm

from freeseg.structures import Marks
from freeseg.training.prompts import boxes, noisy_box


def filled(box: tuple[int, int, int, int], size: tuple[int, int], count: int) -> torch.Tensor:
    left, top, right, bottom = box
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask.expand(count, -1, -1)


def test_coordinates_move_by_a_tenth_of_their_side(seeded):
    box = (40, 30, 100, 130)  # 60 wide, 100 high
    found = noisy_box(filled(box, (200, 150), 2000), *seeded(1))
    moves = found - torch.tensor(box)
    for axis, side in enumerate((60, 100, 60, 100)):
        # beyond two deviations the highest is cut, at 20 pixels
        inner = moves[:, axis][moves[:, axis].abs() < min(20, 0.45 * side)]
        share = norm.cdf(2) - norm.cdf(-2) if side == 100 else 1
        assert len(inner) / 2000 == pytest.approx(share, abs=0.015)
        low = norm.cdf(-2) if side == 100 else 0
        law = lambda x, side=side, low=low, share=share: (  # noqa: E731
            (norm.cdf(x / (0.1 * side)) - low) / share
        )
        assert kstest(inner.numpy(), law).pvalue > 0.01
    correlation = torch.corrcoef(moves.T) - torch.eye(4)
    assert correlation.abs().max() < 0.1


def test_no_coordinate_moves_by_more_than_twenty_pixels(seeded):
    box = (300, 200, 900, 800)
    moves = noisy_box(filled(box, (1000, 1200), 400), *seeded(0)) - torch.tensor(box)
    assert moves.abs().max() == 20
    assert (moves.abs() == 20).float().mean() > 0.6  # a deviation is 60


def test_boxes_stay_in_the_photo_and_have_an_area(blobs, seeded):
    masks = blobs(300)
    masks[0] = False
    masks[0, 0, 30] = True
    masks[1] = False
    masks[1, 22, 0] = True
    for seed in range(20):
        found = noisy_box(masks, *seeded(seed))
        marks = Marks.read(tuple(masks.shape[1:]), boxes=found)  # refuses what is no box
        assert torch.equal(marks.boxes, found)


def test_opposite_sides_never_meet_however_large_the_noise(seeded, monkeypatch):
    monkeypatch.setattr(boxes, "DEVIATION", 50.0)
    box = (20, 20, 30, 60)  # 10 wide, 40 high
    moves = noisy_box(filled(box, (90, 90), 200), *seeded(0)) - torch.tensor(box)
    assert moves.abs().amax(0).tolist() == [4.5, 18, 4.5, 18]


def test_an_empty_mask_has_no_box(blobs, seeded):
    masks = blobs(3)
    masks[1] = False
    found = noisy_box(masks, *seeded(0))
    assert found.isnan().tolist() == [[False] * 4, [True] * 4, [False] * 4]

"""Colours, paint, and the loss of a painting, against Pillow and sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from freeseg.systems.seggpt.painting import draw_colours, nearest, normalised, paint
from freeseg.systems.seggpt.training import painting_loss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [0, 1, 5, 40, 1000])
def test_colours_are_distinct_and_not_black(count):
    colours = draw_colours(count, generator())
    assert (colours.shape, colours.dtype) == ((count, 3), torch.uint8)
    seen = [(0, 0, 0), *map(tuple, colours.tolist())]
    assert len(set(seen)) == count + 1
    if count <= 5:
        distances = [math.dist(a, b) for n, a in enumerate(seen) for b in seen[:n]]
        assert min(distances, default=96) >= 60


def test_colours_fill_the_cube_and_follow_the_generator():
    drawn = torch.cat([draw_colours(2, generator(seed)) for seed in range(400)])
    assert drawn.min() < 5
    assert drawn.max() > 250
    assert (drawn.float().mean(0) - 135).abs().max() < 12  # a corner of the cube is left out
    assert len(drawn.unique(dim=0)) > 790
    assert draw_colours(7, generator(3)).equal(draw_colours(7, generator(3)))


def test_later_masks_lie_over_earlier_ones_on_black():
    masks = torch.tensor([[[1, 1, 0]], [[0, 1, 0]]]).bool()
    colours = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=torch.uint8)
    picture = paint(masks, colours, (1, 3))
    assert picture[:, 0].T.tolist() == [[1, 2, 3], [4, 5, 6], [0, 0, 0]]
    assert paint(masks[:0], colours[:0], (2, 2)).tolist() == [[[0, 0]] * 2] * 3
    with pytest.raises(ValueError, match=r"2 masks need colours \[2, 3\], got \(1, 3\)"):
        paint(masks, colours[:1], (1, 3))


@pytest.mark.parametrize("size", [(5, 9), (14, 14), (31, 20), (13, 17)])
def test_paintings_are_resized_as_pillow_resizes_targets(size):
    masks = torch.rand(4, 13, 17, generator=generator()) < 0.4
    colours = draw_colours(4, generator())
    whole = paint(masks, colours, (13, 17)).permute(1, 2, 0).numpy()
    expected = np.asarray(Image.fromarray(whole).resize(size[::-1], Image.Resampling.NEAREST))
    assert np.array_equal(paint(masks, colours, size).permute(1, 2, 0).numpy(), expected)
    assert nearest(masks, size).dtype == torch.bool


def test_black_and_white_are_the_releases_numbers():
    """Fact sheet: what its pictures are in normalised units."""
    both = normalised(torch.tensor([0, 255], dtype=torch.uint8).expand(3, 1, 2))
    assert both.dtype == torch.float32
    assert torch.allclose(both[:, 0, 0], torch.tensor([-2.1179, -2.0357, -1.8044]), atol=5e-5)
    assert torch.allclose(both[:, 0, 1], torch.tensor([2.2489, 2.4286, 2.6400]), atol=5e-5)


DIFFERENCES = [0.004, -0.02, 1.0, 3.0]
WEIGHTS = [1.0, 2.0, 0.5, 0.0]
BY_HAND = {  # of the first three, 0.005 being the smooth part's half beta
    "smooth_l1": (0.5 * 0.004**2 / 0.01 + 2 * (0.02 - 0.005) + 0.5 * (1 - 0.005)) / 3.5,
    "l1": (0.004 + 2 * 0.02 + 0.5) / 3.5,
    "l2": (0.004**2 + 2 * 0.02**2 + 0.5) / 3.5,
    "l1l2": ((0.004 + 0.004**2) / 2 + 2 * (0.02 + 0.02**2) / 2 + 0.5) / 3.5,
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_losses_are_weighted_means(kind):
    target = torch.tensor([0.3, -1.0, 0.0, 2.0])
    predicted = target + torch.tensor(DIFFERENCES)
    found = painting_loss(predicted, target, torch.tensor(WEIGHTS), kind)
    assert found.item() == pytest.approx(BY_HAND[kind], rel=1e-5)
    halved = painting_loss(predicted, target, torch.tensor(WEIGHTS), kind, total=torch.tensor(7.0))
    assert halved.item() == pytest.approx(BY_HAND[kind] / 2, rel=1e-5)


def test_beta_is_where_smooth_l1_becomes_straight():
    found = painting_loss(torch.tensor([0.5]), torch.zeros(1), torch.ones(1), beta=2.0)
    assert found.item() == pytest.approx(0.5 * 0.25 / 2)


def test_nothing_weighed_is_nothing_lost():
    predicted = torch.ones(4, requires_grad=True)
    loss = painting_loss(predicted, torch.zeros(4), torch.zeros(4))
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad.tolist() == [0] * 4


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="kind must be smooth_l1, l1, l2 or l1l2, got 'l3'"):
        painting_loss(*[torch.zeros(1)] * 3, kind="l3")

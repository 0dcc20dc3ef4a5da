"""The matcher finds the least weighted sum of costs: of all assignments, costs written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.systems.freeseg.dense_criterion import DenseMatcher
from freeseg.training import HungarianMatcher

NAMES = ("loss_ce", "loss_mask", "loss_dice")
NUM_QUERIES, NUM_TARGETS, NUM_POINTS = 4, 3, 12
MASK, PADDED = (5, 7), (20, 28)
WEIGHTS = [(2.0, 5.0, 3.0), (0.1, 1.0, 9.0), (0.1, 9.0, 1.0), (30.0, 1.0, 2.0), (0.0, 0.0, 1.0)]


def scene(seed):
    generator = torch.Generator().manual_seed(seed)
    prediction = MaskPrediction(
        torch.randn(1, NUM_QUERIES, 6, generator=generator),
        3 * torch.randn(1, NUM_QUERIES, *MASK, generator=generator),
    )
    shares = torch.rand(NUM_TARGETS, 1, 1, generator=generator)  # of the picture
    masks = torch.rand(NUM_TARGETS, *PADDED, generator=generator) < shares
    labels = torch.randint(0, 5, (NUM_TARGETS,), generator=generator)
    return prediction, SegmentationTarget(labels, masks)


def read(picture, x, y):
    """A pixel at (x, y) of 0 to 1, between four neighbours, outside of which all is 0."""
    height, width = picture.shape
    around = np.zeros((height + 2, width + 2))
    around[1:-1, 1:-1] = picture
    column, row = x * width + 0.5, y * height + 0.5
    left, top = int(column), int(row)
    right, down = column - left, row - top
    upper = (1 - right) * around[top, left] + right * around[top, left + 1]
    lower = (1 - right) * around[top + 1, left] + right * around[top + 1, left + 1]
    return (1 - down) * upper + down * lower


def at_points(pictures, points):
    return np.array([[read(one, x, y) for x, y in points] for one in pictures.double().numpy()])


def nearest(masks):
    rows, columns = (
        (np.arange(small) * large / small).astype(int) for small, large in zip(MASK, PADDED)
    )
    return masks.double().numpy()[:, rows][:, :, columns].reshape(len(masks), -1)


def costs(kind, prediction, target, seed):
    """[query, target] of each cost."""
    if kind is HungarianMatcher:
        torch.manual_seed(seed)
        points = torch.rand(1, NUM_POINTS, 2)[0].double().numpy()
        logits = at_points(prediction.mask_logits[0], points)
        labels = at_points(target.masks, points)
    else:
        logits = prediction.mask_logits[0].double().flatten(1).numpy()
        labels = nearest(target.masks)
    p, y = 1 / (1 + np.exp(-logits))[:, None], labels[None]  # [Q, 1, P], [1, T, P]
    if kind is HungarianMatcher:
        mask = -y * np.log(p) - (1 - y) * np.log(1 - p)
    else:  # focal loss
        mask = -0.25 * y * (1 - p) ** 2 * np.log(p) - 0.75 * (1 - y) * p**2 * np.log(1 - p)
    dice = 1 - (2 * (p * y).sum(-1) + 1) / (p.sum(-1) + y.sum(-1) + 1)
    powers = np.exp(prediction.class_logits[0].double().numpy())
    return -(powers / powers.sum(-1, keepdims=True))[:, target.labels], mask.mean(-1), dice


def build(kind, weights):
    given = {"num_points": NUM_POINTS} if kind is HungarianMatcher else {}
    return kind(weights=dict(zip(NAMES, weights)), **given)


@pytest.mark.parametrize("kind", [HungarianMatcher, DenseMatcher])
@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_the_assignment_is_the_cheapest_of_all(kind, weights):
    for seed in range(8):
        prediction, target = scene(seed)
        parts = costs(kind, prediction, target, seed)
        cost = sum(weight * part for weight, part in zip(weights, parts))
        torch.manual_seed(seed)
        ((queries, chosen),) = build(kind, weights)(prediction, [target])
        query_of = dict(zip(chosen.tolist(), queries.tolist()))
        found = tuple(query_of[number] for number in range(NUM_TARGETS))
        orders = list(itertools.permutations(range(NUM_QUERIES), NUM_TARGETS))
        best = min(orders, key=lambda order: cost[list(order), range(NUM_TARGETS)].sum())
        assert found == best


@pytest.mark.parametrize("kind", [HungarianMatcher, DenseMatcher])
def test_the_precision_of_training_changes_no_assignment(kind):
    for seed in range(8):
        prediction, target = scene(seed)
        torch.manual_seed(seed)
        ((wanted, _),) = build(kind, WEIGHTS[1])(prediction, [target])
        torch.manual_seed(seed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ((found, _),) = build(kind, WEIGHTS[1])(prediction, [target])
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    ("number", "is_inside"),
    [(float("nan"), True), (float("inf"), False), (-float("inf"), True)],
    ids=["nan", "everywhere", "nowhere"],
)
def test_a_query_that_is_no_number_is_taken_last_and_disturbs_no_other(number, is_inside):
    """Masks of the targets are all or nothing: its cost is without limit for each of them."""
    prediction, target = scene(0)
    target = SegmentationTarget(target.labels, torch.full_like(target.masks, is_inside))
    prediction.mask_logits[0, 1] = number
    matcher = build(HungarianMatcher, (2.0, 5.0, 3.0))

    def matched(*keep):
        torch.manual_seed(0)
        part = MaskPrediction(prediction.class_logits[:, keep], prediction.mask_logits[:, keep])
        ((queries, chosen),) = matcher(part, [target])
        return {keep[query]: number for query, number in zip(queries.tolist(), chosen.tolist())}

    assert matched(0, 1, 2, 3) == matched(0, 2, 3)
    (left,) = set(range(NUM_TARGETS)) - set(matched(0, 2).values())
    assert matched(0, 1, 2) == {**matched(0, 2), 1: left}

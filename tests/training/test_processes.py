"""Losses of a batch do not depend on how processes share it: their mean is the whole's loss.

Everything is constant over a picture, and points are drawn in its middle: near an edge they would
see what is beyond.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest
import torch

from freeseg.structures import MaskPrediction
from freeseg.systems.freeseg.dense_criterion import DenseCriterion, DenseMatcher
from freeseg.training import VOID, HungarianMatcher, PixelCriterion, SetCriterion

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import Processes
from small_inputs import constant_batch

WEIGHTS = {"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 3.0}
SHARES = [slice(0, 1), slice(1, 2), slice(2, 4)]  # the second process has no targets
NUM_TARGETS = (3, 0, 1, 2)  # of four images


def batch():
    return constant_batch(NUM_TARGETS, num_queries=5, num_layers=2)


def part(layers, images):
    return [MaskPrediction(one.class_logits[images], one.mask_logits[images]) for one in layers]


@pytest.mark.parametrize("kind", [SetCriterion, DenseCriterion])
@pytest.mark.parametrize("num_classes", [3, None], ids=["fixed classes", "any classes"])
def test_losses_of_shares_have_the_mean_of_the_whole(kind, num_classes, monkeypatch) -> None:
    layers, targets = batch()
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))
    criterion = kind(
        num_classes=num_classes,
        weights=WEIGHTS,
        no_object_weight=0.1,
        num_points=16,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )
    whole = criterion(layers, targets)
    processes = Processes(monkeypatch, len(SHARES))
    shares = processes.run(
        [lambda share=share: criterion(part(layers, share), targets[share]) for share in SHARES]
    )
    assert set(whole) == {name + end for name in WEIGHTS for end in ("", "_0")}
    for name, loss in whole.items():
        found = torch.stack([share[name] for share in shares])
        torch.testing.assert_close(found.mean(), loss)
        assert found[0] != found[1]


def test_pixels_of_shares_have_the_mean_of_the_whole(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(4, 3, 5, 7, generator=generator)
    labels = torch.randint(0, 3, (4, 5, 7), generator=generator)
    labels[0, :, 2:] = VOID  # the first process has few pixels
    labels[1] = VOID
    criterion = PixelCriterion()
    expected = criterion([logits], [labels])["loss_sem_seg"]
    picked = torch.nn.functional.cross_entropy(logits, labels, ignore_index=VOID)
    torch.testing.assert_close(expected, picked)
    processes = Processes(monkeypatch, len(SHARES))
    shares = processes.run(
        [lambda share=share: criterion([logits[share]], [labels[share]]) for share in SHARES]
    )
    torch.testing.assert_close(torch.stack([one["loss_sem_seg"] for one in shares]).mean(), picked)


@pytest.mark.parametrize("kind", [HungarianMatcher, DenseMatcher])
@pytest.mark.parametrize("weights", [(2.0, 5.0, 3.0), (7.0, 1.0, 0.5), (0.3, 0.2, 6.0)])
def test_the_assignment_is_the_cheapest_of_all_under_weights_that_differ(
    kind, weights, monkeypatch
) -> None:
    """Costs written out: probability, then of a constant mask what the papers define."""
    layers, targets = batch()
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))
    names = dict(zip(WEIGHTS, weights))
    matcher = kind(weights=names, **({"num_points": 9} if kind is HungarianMatcher else {}))
    found = matcher(layers[0], targets)
    area = {HungarianMatcher: 9, DenseMatcher: 6 * 8}[kind]
    for index, (target, (queries, chosen)) in enumerate(zip(targets, found)):
        probs = layers[0].class_logits[index].softmax(-1)
        logits = layers[0].mask_logits[index, :, 0, 0]

        def cost(query, number, target=target, probs=probs, logits=logits):
            inside, p = float(target.masks[number, 0, 0]), logits[query].sigmoid()
            p_t = p if inside else 1 - p
            mask = -p_t.log()
            if kind is DenseMatcher:  # focal loss
                mask = mask * (1 - p_t) ** 2 * (0.25 if inside else 0.75)
            dice = 1 - (2 * p * inside * area + 1) / (p * area + inside * area + 1)
            class_cost = -probs[query, target.labels[number]]
            return float(weights[0] * class_cost + weights[1] * mask + weights[2] * dice)

        count = len(target.labels)
        best = min(
            sum(cost(query, number) for number, query in enumerate(order))
            for order in itertools.permutations(range(5), count)
        )
        pairs = list(zip(queries.tolist(), chosen.tolist()))
        assert sorted(number for _, number in pairs) == list(range(count))
        assert sum(cost(*pair) for pair in pairs) == pytest.approx(best, abs=1e-5)

"""Parts of a batch, processes and both: the mean of their losses is the loss of the whole.

Everything is constant over a picture, and points are drawn in its middle, as in `test_processes`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.systems.freeseg.dense_criterion import DenseCriterion
from freeseg.training import SetCriterion, accumulated
from freeseg.training.shares import count_targets, parts_of_batch

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import Processes
from small_inputs import constant_batch

WEIGHTS = {"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 3.0}
NUM_TARGETS = (3, 0, 1, 4)  # of four images; the last has more than queries
NUM_QUERIES = 3


@pytest.fixture(params=[SetCriterion, DenseCriterion])
def criterion(request, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))
    return request.param(
        num_classes=3,
        weights=WEIGHTS,
        no_object_weight=0.1,
        num_points=16,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )


def batch(seed=1):
    return constant_batch(NUM_TARGETS, NUM_QUERIES, num_layers=3, seed=seed)


def losses_of(criterion, layers, targets, images):
    layers = [MaskPrediction(one.class_logits[images], one.mask_logits[images]) for one in layers]
    return criterion(layers, targets[images])


def mean(shares):
    return {name: torch.stack([share[name] for share in shares]).mean() for name in shares[0]}


@pytest.mark.parametrize("num_parts", [1, 2, 4])
def test_parts_of_a_batch_have_the_mean_of_the_whole(criterion, num_parts):
    layers, targets = batch()
    whole = criterion(layers, targets)
    step = len(targets) // num_parts
    with accumulated(NUM_TARGETS, num_parts):
        parts = [
            losses_of(criterion, layers, targets, slice(start, start + step))
            for start in range(0, len(targets), step)
        ]
    torch.testing.assert_close(mean(parts), whole)


def test_parts_in_processes_have_the_mean_of_the_whole(criterion, monkeypatch):
    layers, targets = batch()
    whole = criterion(layers, targets)

    def parts(images):
        with accumulated(NUM_TARGETS[images], 2):  # what other processes have is not known here
            return [
                losses_of(criterion, layers, targets, slice(image, image + 1))
                for image in range(images.start, images.stop)
            ]

    processes = Processes(monkeypatch, 2)
    shares = processes.run([lambda: parts(slice(0, 2)), lambda: parts(slice(2, 4))])
    torch.testing.assert_close(mean([*shares[0], *shares[1]]), whole)


def test_a_part_of_unknown_counts_is_a_batch_of_its_own(criterion):
    layers, targets = batch()
    alone = losses_of(criterion, layers, targets, slice(2, 3))
    with accumulated(None, 4):
        assert parts_of_batch() == 1
        assert losses_of(criterion, layers, targets, slice(2, 3)) == alone


def test_shares_end_with_their_block_whatever_happens_in_it():
    _, targets = batch()

    def shares():
        return count_targets(targets), parts_of_batch()

    def break_down():
        with accumulated([5], 3):
            assert shares() == ([5.0], 3)
            raise ValueError("broken")

    with accumulated([7, 2], 2):
        assert shares() == ([7.0, 2.0], 2)
        with pytest.raises(ValueError, match="broken"):
            break_down()
        assert shares() == ([7.0, 2.0], 2)
    assert shares() == ([3.0, 0.0, 1.0, 4.0], 1)


def test_layers_are_named_from_the_first_and_the_last_has_no_number(criterion):
    layers, targets = batch()
    found = criterion(layers, targets)
    for layer, end in zip(layers, ("_0", "_1", "")):
        alone = criterion([layer], targets)
        for name in WEIGHTS:
            torch.testing.assert_close(found[name + end], alone[name])
    assert len({float(found["loss_ce" + end]) for end in ("_0", "_1", "")}) == 3


def test_without_deep_supervision_the_last_layer_alone_counts(criterion):
    layers, targets = batch()
    wanted = criterion(layers[-1:], targets)
    criterion.deep_supervision = False
    torch.testing.assert_close(criterion(layers, targets), wanted)


@pytest.mark.parametrize("changed", WEIGHTS)
def test_the_total_is_linear_in_each_weight(criterion, changed):
    """Of one query and one target, for weights choose among more."""
    layers, targets = batch()
    layers = [MaskPrediction(one.class_logits[:, :1], one.mask_logits[:, :1]) for one in layers]
    targets = [SegmentationTarget(one.labels[:1], one.masks[:1]) for one in targets]
    before = criterion(layers, targets)
    other = type(criterion)(
        num_classes=None,
        weights={**WEIGHTS, changed: 7 * WEIGHTS[changed]},
        no_object_weight=0.1,
        num_points=16,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )
    after = other(layers, targets)
    for name, loss in before.items():
        assert loss > 0
        factor = 7 if name.startswith(changed) else 1
        torch.testing.assert_close(after[name], factor * loss)


@pytest.mark.parametrize("no_object_weight", [0.1, 0.6, 3.0])
@pytest.mark.parametrize("num_classes", [3, None])
def test_unmatched_queries_count_by_their_weight(criterion, no_object_weight, num_classes):
    """Cross-entropy summed query by query and divided by the sum of their weights."""
    layers, targets = batch()
    criterion = type(criterion)(
        num_classes=num_classes,
        weights=WEIGHTS,
        no_object_weight=no_object_weight,
        num_points=16,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )
    total = weights = 0.0
    for index, (queries, chosen) in enumerate(criterion.matcher(layers[0], targets)):
        label_of = dict(zip(queries.tolist(), targets[index].labels[chosen].tolist()))
        for query, row in enumerate(layers[0].class_logits[index].log_softmax(-1)):
            weight = 1 if query in label_of else no_object_weight
            total -= weight * float(row[label_of.get(query, 3)])
            weights += weight
    found = criterion(layers[:1], targets)["loss_ce"]
    assert float(found) == pytest.approx(2 * total / weights, rel=1e-5)

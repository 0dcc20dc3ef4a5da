"""Samplers: what processes read together, and how often."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from torch.utils.data import SequentialSampler

from detectron2.data.samplers import (
    GroupedBatchSampler,
    InferenceSampler,
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from detectron2.utils import comm

FACTORS = torch.tensor([1.0, 2.5, 1.0, 3.0])
INFINITE = {
    "shuffled": lambda: TrainingSampler(10, seed=3),
    "in order": lambda: TrainingSampler(10, shuffle=False, seed=3),
    "subset": lambda: RandomSubsetTrainingSampler(20, 0.4, seed_shuffle=1, seed_subset=2),
    "repeated": lambda: RepeatFactorTrainingSampler(FACTORS, seed=5),
}


def take(sampler, count):
    return list(itertools.islice(iter(sampler), count))


def as_process(monkeypatch, rank, world_size):
    monkeypatch.setattr(comm, "get_rank", lambda: rank)
    monkeypatch.setattr(comm, "get_world_size", lambda: world_size)


@pytest.mark.parametrize("make", INFINITE.values(), ids=INFINITE)
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_deal_out_the_sequence_of_one(monkeypatch, make, world_size):
    alone = take(make(), 12 * world_size)
    for rank in range(world_size):
        as_process(monkeypatch, rank, world_size)
        assert take(make(), 12) == alone[rank::world_size]


@pytest.mark.parametrize("make", INFINITE.values(), ids=INFINITE)
def test_iterating_again_gives_the_same(make):
    sampler = make()
    assert take(sampler, 30) == take(sampler, 30) == take(make(), 30)


def test_each_pass_is_a_new_permutation():
    passes = [tuple(take(TrainingSampler(10, seed=0), 50)[i : i + 10]) for i in range(0, 50, 10)]
    assert all(sorted(order) == list(range(10)) for order in passes)
    assert len(set(passes)) == 5


def test_seeds_matter_and_none_is_drawn():
    assert take(TrainingSampler(100, seed=0), 10) != take(TrainingSampler(100, seed=1), 10)
    assert take(TrainingSampler(100), 50) != take(TrainingSampler(100), 50)


def test_without_shuffling_the_order_is_kept():
    assert take(TrainingSampler(3, shuffle=False), 7) == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_sizes_that_make_no_sense(size, error):
    with pytest.raises(error):
        TrainingSampler(size)


def test_a_subset_stays_the_same():
    sampler = RandomSubsetTrainingSampler(20, 0.4, seed_shuffle=1, seed_subset=2)
    counts = Counter(take(sampler, 8 * 5))
    assert len(counts) == 8
    assert set(counts.values()) == {5}
    other_order = RandomSubsetTrainingSampler(20, 0.4, seed_shuffle=9, seed_subset=2)
    assert set(take(other_order, 8)) == set(counts)
    other_subset = RandomSubsetTrainingSampler(20, 0.4, seed_shuffle=1, seed_subset=3)
    assert set(take(other_subset, 8)) != set(counts)
    for ratio in (0.0, 1.1, 0.01):
        with pytest.raises(AssertionError):
            RandomSubsetTrainingSampler(20, ratio)


def test_repeat_factors_hold_on_average():
    # One pass has 1, 2 or 3, 1 and 3 of the four; over many passes the shares are the factors'.
    count = 12_000
    counts = Counter(take(RepeatFactorTrainingSampler(FACTORS, seed=1), count))
    shares = torch.tensor([counts[i] / count for i in range(4)])
    assert torch.allclose(shares, FACTORS / FACTORS.sum(), atol=6e-3)


@pytest.mark.parametrize("sqrt", [True, False])
def test_repeat_factors_of_images(sqrt):
    contents = [[0, 1], [0], [0, 2, 2], [], [0, 1]]
    dicts = [{"annotations": [{"category_id": c} for c in found]} for found in contents]
    factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(dicts, 0.7, sqrt)
    root = math.sqrt if sqrt else float
    # Categories are in 4/5, 2/5 and 1/5 of the images.
    common, rare, rarest = 1.0, root(0.7 / 0.4), root(0.7 / 0.2)
    assert factors.tolist() == pytest.approx([rare, common, rarest, 1.0, rare])


@pytest.mark.parametrize("world_size", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 4, 13])
def test_inference_covers_everything_once(monkeypatch, size, world_size):
    parts = []
    for rank in range(world_size):
        as_process(monkeypatch, rank, world_size)
        sampler = InferenceSampler(size)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1])
    assert list(itertools.chain(*parts)) == list(range(size))
    lengths = [len(part) for part in parts]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1


def test_inference_needs_something_to_infer():
    with pytest.raises(AssertionError):
        InferenceSampler(0)


def test_batches_of_a_group_keep_the_order():
    groups = [0, 1, 1, 0, 2, 0, 1, 0, 0, 1]
    sampler = GroupedBatchSampler(SequentialSampler(groups), groups, 2)
    assert take(sampler, 10) == [[1, 2], [0, 3], [5, 7], [6, 9]]
    with pytest.raises(ValueError, match="sampler"):
        GroupedBatchSampler([0, 1], [0, 0], 2)
    with pytest.raises(NotImplementedError):
        len(GroupedBatchSampler(SequentialSampler(groups), groups, 2))

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from freeseg.data import build_train_loader
from freeseg.data.loader import PositionDataset, PositionSampler

RECORDS = [{"image_id": number} for number in range(10)]


def identity(record):
    return record


def take(loader, count: int) -> list:
    return list(itertools.islice(iter(loader), count))


def positions(batches) -> list[list[int]]:
    return [[row["position"] for row in batch] for batch in batches]


def test_every_epoch_shows_every_image_once_in_another_order():
    dataset = PositionDataset(RECORDS, identity, seed=0)
    epochs = [
        [dataset[position]["image_id"] for position in range(start, start + 10)]
        for start in (0, 10, 20)
    ]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_seeds_shuffle_differently_and_positions_far_away_are_cheap():
    orders = {
        tuple(PositionDataset(RECORDS, identity, seed)[10**12 + i]["image_id"] for i in range(10))
        for seed in range(4)
    }
    assert len(orders) == 4


def test_the_mapper_gets_seed_and_position_and_records_stay():
    dataset = PositionDataset(RECORDS, identity, seed=9)
    assert {"seed": 9, "position": 13}.items() <= dataset[13].items()
    assert all(set(record) == {"image_id"} for record in RECORDS)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no images"):
        PositionDataset([], identity, seed=0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_processes_share_every_global_batch(world_size):
    samplers = [PositionSampler(6, rank, world_size) for rank in range(world_size)]
    share = 6 // world_size
    for sampler in samplers:
        sampler.start = 12
    streams = [list(itertools.islice(iter(sampler), 2 * share)) for sampler in samplers]
    for batch in range(2):
        part = slice(batch * share, (batch + 1) * share)
        union = sorted(itertools.chain(*(stream[part] for stream in streams)))
        assert union == list(range(12 + 6 * batch, 18 + 6 * batch))


def test_a_batch_must_divide_among_processes():
    with pytest.raises(ValueError, match=r"batch size \(4\) must be a positive multiple .* \(3\)"):
        PositionSampler(4, 0, 3)


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_start_may_be_that_of_other_batches(world_size):
    samplers = [PositionSampler(4, rank, world_size) for rank in range(world_size)]
    for sampler in samplers:
        sampler.start = 6
    found = [itertools.islice(iter(sampler), 8 // world_size) for sampler in samplers]
    assert sorted(itertools.chain(*found)) == list(range(6, 14))


def test_a_resumed_loader_continues_where_it_was(cfg):
    batches = take(build_train_loader(cfg, identity, records=RECORDS), 8)
    assert positions(batches) == [[4 * i + k for k in range(4)] for i in range(8)]
    resumed = build_train_loader(cfg, identity, records=RECORDS, start_iter=5)
    assert take(resumed, 3) == batches[5:]
    late = build_train_loader(cfg, identity, records=RECORDS)
    late.loader_sampler.start = 5 * cfg.SOLVER.IMS_PER_BATCH
    assert take(late, 3) == batches[5:]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_number_of_workers_changes_nothing(cfg, workers):
    expected = take(build_train_loader(cfg, identity, records=RECORDS, start_iter=2), 5)
    cfg.DATALOADER.NUM_WORKERS = workers
    loader = build_train_loader(cfg, identity, records=RECORDS, start_iter=2)
    assert take(loader, 5) == expected


def test_two_processes_see_what_one_sees(cfg, monkeypatch):
    single = take(build_train_loader(cfg, identity, records=RECORDS), 4)
    halves = []
    for rank in range(2):
        monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
        monkeypatch.setattr("detectron2.utils.comm.get_rank", lambda rank=rank: rank)
        monkeypatch.setattr("detectron2.data.build.get_world_size", lambda: 2)
        halves.append(take(build_train_loader(cfg, identity, records=RECORDS), 4))
    assert [first + second for first, second in zip(*halves)] == single


def test_a_negative_seed_is_drawn_once_for_the_loader(cfg):
    cfg.SEED = -1
    loader = build_train_loader(cfg, identity, records=RECORDS)
    assert len({row["seed"] for batch in take(loader, 3) for row in batch}) == 1


def test_real_samples_are_identical_after_resume(cfg, tiny_shapes):
    cfg.DATASETS.TRAIN = (tiny_shapes,)
    cfg.INPUT.DATASET_MAPPER_NAME = "coco_panoptic_lsj"
    cfg.INPUT.IMAGE_SIZE = 64
    cfg.INPUT.COLOR_AUG_SSD = True
    np.random.seed(1)
    batches = take(build_train_loader(cfg), 3)
    np.random.seed(2)
    (resumed,) = take(build_train_loader(cfg, start_iter=2), 1)
    assert len(resumed) == 4
    for one, other in zip(batches[2], resumed):
        assert one["file_name"] == other["file_name"]
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["instances"].gt_masks.tensor, other["instances"].gt_masks.tensor)


def test_sets_with_different_classes_are_not_mixed(cfg):
    cfg.DATASETS.TRAIN = ("shapes_val_panoptic", "camvid_train_panoptic")
    with pytest.raises(ValueError, match="camvid_train_panoptic has classes"):
        build_train_loader(cfg)

"""Laws of the loaders: orders, shares, what is filtered, and which key decides it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from freeseg.data import SegmentationMapper, build_test_loader, build_train_loader, evenly_spread
from freeseg.data.loader import (
    ENDLESS,
    PositionDataset,
    PositionSampler,
    check_training_classes,
    train_records,
)
from freeseg.structures import DATASET_KEY

TRIANGLE = [[0, 0, 2, 0, 2, 2]]


def objects(name: str, *crowds: int, label: int = 0) -> dict:
    rows = [{"category_id": label, "iscrowd": crowd, "segmentation": TRIANGLE} for crowd in crowds]
    return {"file_name": name, "image_id": name, "height": 5, "width": 7, "annotations": rows}


def identity(record):
    return record


@pytest.mark.parametrize("count", [0, 1, 5, 6, 7, 40])
@pytest.mark.parametrize("limit", [0, 1, 2, 5, 6, 7, 100])
def test_records_are_spread_in_equal_steps_from_the_first_one(count, limit):
    found = list(evenly_spread(range(count), limit))
    assert len(found) == (min(count, limit) if limit else count)
    step = max(1, count // limit) if limit else 1
    assert found == [step * place for place in range(len(found))]
    assert not found or found[-1] < count


def test_the_order_of_an_epoch_is_that_of_numpys_and_torchs_generators():
    """Written out: a run must find it again with any later version of ours."""
    records = [{"image_id": number} for number in range(11)]
    dataset = PositionDataset(records, identity, seed=5)
    expected = []
    for epoch in range(3):
        seed = int(np.random.SeedSequence([5, epoch]).generate_state(1)[0])
        expected += torch.randperm(11, generator=torch.Generator().manual_seed(seed)).tolist()
    assert [dataset[position]["image_id"] for position in range(33)] == expected
    assert [dataset[position]["position"] for position in range(33)] == list(range(33))
    assert len(dataset) == ENDLESS


@pytest.mark.parametrize(("batch", "world", "is_good"), [
    (1, 1, True), (4, 4, True), (4, 2, True), (0, 1, False), (-2, 1, False), (5, 2, False),
    (2, 4, False),
])  # fmt: skip
def test_a_batch_is_at_least_one_sample_of_each_process(batch, world, is_good):
    if is_good:
        sampler = PositionSampler(batch, world - 1, world)
        share = batch // world
        alone = PositionSampler(batch)
        assert list(itertools.islice(alone, batch + 1)) == list(range(batch + 1))
        found = list(itertools.islice(sampler, 2 * share))
        last = range(batch - share, batch)
        assert found == [*last, *(position + batch for position in last)]
        assert len(sampler) == ENDLESS > 10**15
        return
    with pytest.raises(ValueError, match=rf"\({batch}\) must be a positive multiple .*\({world}\)"):
        PositionSampler(batch, 0, world)


@pytest.mark.parametrize(("key", "argument", "found"), [(7, None, 7), (0, None, 0), (7, 0, 0)])
def test_the_seed_is_the_arguments_else_the_keys(cfg, key, argument, found):
    cfg.SEED = key
    loader = build_train_loader(cfg, identity, records=[{"image_id": 1}], seed=argument)
    assert next(iter(loader))[0]["seed"] == found


def test_the_batch_is_that_of_the_key_and_starts_where_it_is_told(cfg):
    cfg.SOLVER.IMS_PER_BATCH = 3
    loader = build_train_loader(cfg, identity, records=[{"image_id": 1}], start_iter=4)
    assert loader.loader_sampler.start == 12
    batch = next(iter(loader))
    assert [row["position"] for row in batch] == [12, 13, 14]


# records


def test_of_mixed_records_those_with_only_crowds_are_left_out(cfg, loader):
    """Some records have objects, some have a PNG: each is looked at for itself."""
    png = {"file_name": "p", "image_id": "p", "sem_seg_file_name": "p.png"}
    good = [objects("a", 0), objects("b", 1, 0)]
    bad = [objects("c"), objects("d", 1, 1)]
    for records in ([png, *bad, *good], [*bad, *good, png], [*good, png, *bad]):
        cfg.DATASETS.TRAIN = (loader(records),)
        cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
        kept = [record for record in records if record not in bad]
        assert train_records(cfg) == kept
        cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
        assert train_records(cfg) == records


def test_an_object_that_says_nothing_is_no_crowd(cfg, loader):
    record = objects("a", 0)
    del record["annotations"][0]["iscrowd"]
    cfg.DATASETS.TRAIN = (loader([record]),)
    assert train_records(cfg) == [record]


@pytest.mark.parametrize("merges", [False, True])
def test_twins_are_put_together_in_training_where_the_key_says_so(cfg, loader, merges):
    cfg.DATASETS.TRAIN = (loader([objects("a", 0), objects("./a", 0, 0)]),)
    cfg.DATASETS.MERGE_TWINS = merges
    counts = [len(record["annotations"]) for record in train_records(cfg)]
    assert counts == ([3] if merges else [1, 2])
    seen = build_test_loader(cfg, cfg.DATASETS.TRAIN[0], identity)
    counts = [len(record["annotations"]) for (record,) in seen]
    assert counts == ([3] if merges else [1, 2])


def test_own_lists_keep_their_numbers_and_say_whose_they_are(cfg, loader):
    first = loader([objects("a", 0, label=1)], thing_classes=["pea", "rice"])
    second = loader([objects("b", 0, label=1)], thing_classes=["rice", "pea"])
    cfg.DATASETS.TRAIN = (first, second)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2

    def rows() -> list[tuple]:
        return [
            (one["file_name"], one.get(DATASET_KEY), one["annotations"][0]["category_id"])
            for one in train_records(cfg)
        ]

    assert rows() == [("a", None, 1), ("b", None, 0)]
    cfg.DATASETS.MIX_LABEL_SETS = True
    assert rows() == [("a", first, 1), ("b", second, 1)]


def test_classes_that_cannot_be_trained_together_are_refused_before_a_record_is_read(cfg, loader):
    def fail():
        raise AssertionError("is not to be loaded")

    first = loader(fail, thing_classes=["pea"])
    cfg.DATASETS.TRAIN = (first, loader(fail, thing_classes=["oat"]))
    with pytest.raises(ValueError, match=r"not trained on: oat; .* \(DATASETS.MIX_LABEL_SETS\)"):
        check_training_classes(cfg)
    cfg.DATASETS.MIX_LABEL_SETS = True
    check_training_classes(cfg)
    cfg.DATASETS.MIX_LABEL_SETS, cfg.DATASETS.TRAIN = False, (first, loader(fail))
    check_training_classes(cfg)  # whose classes nobody knows
    cfg.DATASETS.TRAIN = ()
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty"):
        train_records(cfg)


def test_void_of_further_sets_stays_void(cfg, loader, tmp_path, write_image):
    """Values 0, 1 and void of the second set are the classes 1, 0 and void of the first."""
    photo = str(write_image(tmp_path / "photo.png", np.zeros((2, 3, 3))))
    labels = str(write_image(tmp_path / "labels.png", [[0, 1, 77], [77, 1, 1]]))
    record = {"file_name": photo, "image_id": 1, "sem_seg_file_name": labels}
    names = {"stuff_classes": ["pea", "rice"], "ignore_label": 77}
    other = {"stuff_classes": ["rice", "pea"], "ignore_label": 77}
    cfg.DATASETS.TRAIN = (loader([record], **names), loader([record], **other))
    first, second = train_records(cfg)
    mapper = SegmentationMapper(
        augmentations=[], image_format="RGB", task="semantic", ignore_label=77
    )
    masks = [mapper(each)["instances"].gt_masks.tensor.tolist() for each in (first, second)]
    assert masks[0] == masks[1][::-1]


# test images and regions


def test_test_images_come_in_their_order_with_the_classes_that_the_set_names(
    cfg, loader, tmp_path, write_image
):
    names = ["wide", "high"]
    sizes = [(6, 12), (12, 6)]
    records = [
        {
            "file_name": str(write_image(tmp_path / f"{name}.png", np.zeros((*size, 3)))),
            "image_id": name,
        }
        for name, size in zip(names, sizes)
    ]
    cfg.INPUT.MIN_SIZE_TEST = 24
    for metadata, classes in (({"stuff_classes": ["pea", "rice"]}, ("pea", "rice")), ({}, None)):
        batches = list(build_test_loader(cfg, loader(records, **metadata)))
        assert [[one["image_id"] for one in batch] for batch in batches] == [["wide"], ["high"]]
        assert [batch[0]["image"].shape for batch in batches] == [(3, 24, 48), (3, 48, 24)]
        for (one,) in batches:
            assert (one["vocabulary"].names if classes else one.get("vocabulary")) == classes


def test_the_prompt_stage_needs_classes_and_leaves_unseen_ones_out(
    cfg, loader, tmp_path, write_image
):
    photo = str(write_image(tmp_path / "photo.png", np.zeros((5, 7, 3))))
    rows = [{**objects(photo, 0, label=label), "image_id": label} for label in (0, 1, 2)]
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_binary_semantic"
    cfg.INPUT.TASK_NAME, cfg.INPUT.MIN_SIZE_TRAIN = ["instance segmentation."], (8,)
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.DATASETS.TRAIN = (loader(rows),)
    with pytest.raises(ValueError, match="names no classes to learn prompts for"):
        build_train_loader(cfg)
    cfg.DATASETS.TRAIN = (
        loader(rows, thing_classes=["pea", "rice", "oat"], trainable_flag=[1, 0, 1]),
    )
    built = build_train_loader(cfg)
    found = sorted(int(one["instances"].gt_classes) for one in next(iter(built)))
    assert found == [0, 0, 2, 2]
    assert {one["task"] for one in next(iter(built))} == {"instance"}
    assert next(iter(build_train_loader(cfg, identity)))[0].keys() >= {"instance", "seed"}
    with_limit = cfg.clone()
    with_limit.merge_from_list(["DATASETS.SAMPLE_PER_CLASS", 1, "DATASETS.SAMPLE_SEED", 3])
    many = [{**row, "image_id": f"{n} {row['image_id']}"} for n in range(4) for row in rows]
    order = next(iter(build_train_loader(with_limit, identity, records=many)))
    assert len({each["instance"]["image_id"] for each in order}) == 2

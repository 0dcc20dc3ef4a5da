"""Regions as samples of the prompt stage, and one task per batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data import build_test_loader, build_train_loader
from freeseg.data.mapper import BatchTasks
from freeseg.data.panoptic import rgb2id
from freeseg.data.segment_samples import SegmentMapper, segment_records
from freeseg.images import read_image

TASKS = ("semantic", "instance", "panoptic")


def rows():
    """Three images: two cats in one, a crowd of dogs, sky (class 2) everywhere."""
    cat, dog, sky = (
        {"category_id": number, "isthing": number < 2, "iscrowd": 0} for number in range(3)
    )
    images = [[cat, cat, sky], [{**dog, "iscrowd": 1}, sky], [cat, sky]]
    return [
        {
            "file_name": f"{index}.jpg",
            "pan_seg_file_name": f"{index}.png",
            "segments_info": [{**row, "id": number} for number, row in enumerate(segments, 1)],
        }
        for index, segments in enumerate(images)
    ]


def found(task, **changes):
    records = segment_records(rows(), [task], changes.pop("trained", [True] * 3), **changes)
    return sorted(
        (one[task]["file_name"], one[task]["segment_class"], len(one[task]["segments_info"]))
        for one in records
    )


def test_every_task_has_its_own_regions():
    sky = [(f"{index}.jpg", 2, 1) for index in range(3)]
    assert found("semantic") == sorted([("0.jpg", 0, 2), ("1.jpg", 1, 1), ("2.jpg", 0, 1), *sky])
    cats = [("0.jpg", 0, 1), ("0.jpg", 0, 1), ("2.jpg", 0, 1)]
    assert found("instance") == cats  # a crowd is no instance
    assert found("panoptic") == sorted([*cats, *sky])


def test_classes_are_limited_and_unseen_ones_left_out():
    assert Counter(row[1] for row in found("panoptic", per_class=2)) == {0: 2, 2: 2}
    assert found("panoptic", per_class=2, seed=1) == found("panoptic", per_class=2, seed=1)
    assert {row[1] for row in found("semantic", trained=[False, True, True])} == {1, 2}
    with pytest.raises(ValueError, match="no region for the task instance"):
        found("instance", trained=[False, False, True])


def test_places_have_a_region_for_every_task():
    records = segment_records(rows(), TASKS, [True] * 3)
    assert len(records) == 6
    assert all(set(record) == set(TASKS) for record in records)
    assert {record["instance"]["file_name"] for record in records} == {"0.jpg", "2.jpg"}


@pytest.fixture
def sample(tiny_shapes):
    records = DatasetCatalog.get(tiny_shapes)
    names = MetadataCatalog.get(tiny_shapes).stuff_classes
    regions = segment_records(records, TASKS, [True] * len(names))
    mapper = SegmentMapper(
        size=(24, 24),
        crop_area=(0.08, 1.0),
        tasks=BatchTasks(TASKS, batch_size=2),
        image_format="RGB",
    )
    return lambda position: (
        mapper({**regions[position % len(regions)], "seed": 3, "position": position}),
        regions[position % len(regions)],
    )


def test_a_sample_shows_its_region(sample):
    """Mean colour inside the mask is that of the annotated segments in the whole image."""
    near = 0
    for position in range(20):
        output, region = sample(position)
        region = region[output["task"]]
        instances = output["instances"]
        assert output["image"].shape == (3, 24, 24)
        assert instances.gt_classes.tolist() == [region["segment_class"]]
        mask = instances.gt_masks.tensor[0]
        assert mask.any()
        ids = rgb2id(read_image(region["pan_seg_file_name"]))
        wanted = np.isin(ids, [row["id"] for row in region["segments_info"]])
        whole = read_image(region["file_name"])[wanted].mean(0)
        part = output["image"][:, mask].float().mean(1).numpy()
        near += np.abs(whole - part).max() < 60
    assert near >= 15


def test_a_sample_follows_from_seed_and_position(sample):
    first, again, other = sample(4)[0], sample(4)[0], sample(5)[0]
    assert torch.equal(first["image"], again["image"])
    assert first["image"].shape == other["image"].shape
    assert not torch.equal(first["image"], other["image"])


def test_a_batch_has_one_task_that_follows_from_its_number():
    draw = BatchTasks(TASKS, batch_size=4).draw
    tasks = [draw({"seed": 7, "position": position}) for position in range(1200)]
    batches = [tasks[first : first + 4] for first in range(0, 1200, 4)]
    assert all(len(set(batch)) == 1 for batch in batches)
    counts = Counter(batch[0] for batch in batches)
    assert set(counts) == set(TASKS)
    assert min(counts.values()) > 70
    assert tasks == [draw({"seed": 7, "position": position}) for position in range(1200)]
    assert tasks != [draw({"seed": 8, "position": position}) for position in range(1200)]
    with pytest.raises(ValueError, match="wanted some of the tasks"):
        BatchTasks(("depth",), 4)


def test_the_loader_draws_a_task_per_batch_and_resumes_with_it(cfg, tiny_shapes):
    cfg.DATASETS.TRAIN = (tiny_shapes,)
    cfg.INPUT.DATASET_MAPPER_NAME = "coco_full_lsj"
    cfg.INPUT.TASK_NAME = [f"{task} segmentation." for task in TASKS]
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.SOLVER.IMS_PER_BATCH = (32,), 2

    def tasks(start, count):
        batches = iter(build_train_loader(cfg, start_iter=start))
        return [[one["task"] for one in next(batches)] for _ in range(count)]

    straight = tasks(0, 8)
    assert all(first == second for first, second in straight)
    assert len({first for first, _ in straight}) > 1
    assert tasks(5, 3) == straight[5:]


def test_the_prompt_stage_has_its_loader(cfg, tiny_shapes):
    cfg.DATASETS.TRAIN = (tiny_shapes,)
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_full_binary_semantic"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.SOLVER.IMS_PER_BATCH = (16, 16), 2
    cfg.DATASETS.SAMPLE_PER_CLASS = 1
    batch = next(iter(build_train_loader(cfg)))
    assert [one["image"].shape for one in batch] == [(3, 16, 16)] * 2
    assert {one["task"] for one in batch} == {"semantic"}


def test_test_images_bring_the_classes_of_their_dataset(cfg, tiny_shapes):
    cfg.DATASETS.TEST = (tiny_shapes,)
    (one,) = next(iter(build_test_loader(cfg, tiny_shapes)))
    assert list(one["vocabulary"].names) == MetadataCatalog.get(tiny_shapes).stuff_classes
    assert sum(one["vocabulary"].is_thing) == 48


def test_a_sample_may_show_the_whole_region(tiny_shapes):
    records = DatasetCatalog.get(tiny_shapes)
    names = MetadataCatalog.get(tiny_shapes).stuff_classes
    regions = segment_records(records, TASKS, [True] * len(names))
    mapper = SegmentMapper(
        size=(24, 24),
        crop_area=(1.0, 1.0),
        tasks=BatchTasks(TASKS, batch_size=2),
        image_format="RGB",
    )
    for position in range(20):
        output = mapper({**regions[position % len(regions)], "seed": 3, "position": position})
        mask = output["instances"].gt_masks.tensor[0]
        for axis in (0, 1):
            shown = mask.any(axis).nonzero()[:, 0]
            assert shown.max() - shown.min() >= 18, f"a part of {regions[position % len(regions)]}"

"""Mappers by name: published ones, a project's own, and what the loaders make of them."""

from __future__ import annotations

import itertools
import textwrap
from pathlib import Path

import numpy as np
import pytest

from freeseg.data import (
    MAPPER_REGISTRY,
    SegmentationMapper,
    build_mapper,
    build_test_loader,
    build_train_loader,
)
from freeseg.data.loader import PositionDataset
from freeseg.data.mapper import PUBLISHED_MAPPERS
from freeseg.data.segment_samples import SEGMENT_MAPPERS, SegmentMapper
from freeseg.engine.trainer import Trainer

NAMES = ["pea", "rice"]


@pytest.fixture
def register():
    """Registers builders under names until the test ends."""
    names = []

    def add(name, builder):
        MAPPER_REGISTRY._do_register(name, builder)
        names.append(name)

    yield add
    for name in names:
        del MAPPER_REGISTRY._obj_map[name]


@pytest.fixture
def set_cfg(cfg, loader, tmp_path, write_image):
    """Of a training and test set of three photos."""
    records = [
        {
            "file_name": str(write_image(tmp_path / f"{n}.png", np.full((8, 8, 3), n))),
            "sem_seg_file_name": str(write_image(tmp_path / f"{n}_labels.png", np.eye(8))),
            "image_id": n,
        }
        for n in range(3)
    ]
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (loader(records, stuff_classes=NAMES),)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (8,), 8
    return cfg


class Marked:
    """A mapper that says who it is and what it was given."""

    def __init__(self, cfg, is_train):
        self.is_train = is_train

    def __call__(self, record):
        return {"who": "mine", "is_train": self.is_train, "record": record}


def test_published_names_are_rows():
    rows = dict(MAPPER_REGISTRY)
    assert set(rows) >= {*PUBLISHED_MAPPERS, *SEGMENT_MAPPERS}
    assert {rows[name] for name in PUBLISHED_MAPPERS} == {SegmentationMapper}


@pytest.mark.parametrize("name", [*PUBLISHED_MAPPERS, *SEGMENT_MAPPERS])
@pytest.mark.parametrize("is_train", [True, False])
def test_published_names_build_what_they_did(set_cfg, name, is_train):
    set_cfg.INPUT.DATASET_MAPPER_NAME = name
    mapper = build_mapper(set_cfg, is_train)
    is_segment = name in SEGMENT_MAPPERS and is_train
    assert type(mapper) is (SegmentMapper if is_segment else SegmentationMapper)
    if not is_segment:
        assert mapper.is_train == is_train
        same = SegmentationMapper(set_cfg, is_train)
        steps = [
            [type(step) for step in each.augmentations.augs] for each in (mapper, same)
        ]  # fmt: skip
        assert steps[0] == steps[1]
        assert (mapper.task, mapper.num_classes) == (same.task, same.num_classes)


def test_an_unknown_name_is_refused_in_training_with_the_known_ones(set_cfg, register):
    register("my_clicks", Marked)
    set_cfg.INPUT.DATASET_MAPPER_NAME = "my_click"
    for build in (lambda cfg: build_mapper(cfg, True), build_train_loader):
        with pytest.raises(ValueError, match="'my_click' is unknown; known names are ") as raised:
            build(set_cfg)
        known = str(raised.value).split("names are ")[1].split(", ")
        assert set(known) >= {*PUBLISHED_MAPPERS, *SEGMENT_MAPPERS, "my_clicks"}


def test_at_test_time_an_unknown_name_reads_photos_as_published_ones(set_cfg):
    set_cfg.INPUT.DATASET_MAPPER_NAME = "another_project's"
    (batch, *_) = build_test_loader(set_cfg, set_cfg.DATASETS.TEST[0])
    set_cfg.INPUT.DATASET_MAPPER_NAME = "coco_panoptic_lsj"
    (same, *_) = build_test_loader(set_cfg, set_cfg.DATASETS.TEST[0])
    assert batch[0]["image"].equal(same[0]["image"])
    assert batch[0].keys() == same[0].keys()


def test_a_projects_mapper_is_used_by_the_loaders_of_training_and_evaluation(set_cfg, register):
    register("my_clicks", Marked)
    set_cfg.INPUT.DATASET_MAPPER_NAME = "my_clicks"
    name = set_cfg.DATASETS.TEST[0]
    for loader in (build_train_loader(set_cfg), Trainer.build_train_loader(set_cfg)):
        batch = next(iter(loader))
        assert [(one["who"], one["is_train"]) for one in batch] == [("mine", True)] * 4
        assert [one["record"]["position"] for one in batch] == [0, 1, 2, 3]
    for loader in (build_test_loader(set_cfg, name), Trainer.build_test_loader(set_cfg, name)):
        found = [one for batch in loader for one in batch]
        assert [(one["who"], one["is_train"]) for one in found] == [("mine", False)] * 3
        assert [one["record"]["image_id"] for one in found] == [0, 1, 2]
        assert {one["vocabulary"].names for one in found} == {tuple(NAMES)}


def test_a_mapper_that_asks_for_classes_of_its_own_is_left_to_it(set_cfg, register):
    register("my_words", lambda cfg, is_train: lambda record: {"vocabulary": "mine"})
    set_cfg.INPUT.DATASET_MAPPER_NAME = "my_words"
    loader = build_test_loader(set_cfg, set_cfg.DATASETS.TEST[0])
    assert [batch[0]["vocabulary"] for batch in loader] == ["mine"] * 3


def test_a_mapper_that_is_given_stands_above_the_name(set_cfg, register):
    register("my_clicks", Marked)
    set_cfg.INPUT.DATASET_MAPPER_NAME = "my_clicks"
    given = Marked(set_cfg, "given")
    assert next(iter(build_train_loader(set_cfg, given)))[0]["is_train"] == "given"
    loader = build_test_loader(set_cfg, set_cfg.DATASETS.TEST[0], given)
    assert [set(batch[0]) for batch in loader] == [{"who", "is_train", "record"}] * 3


class Neighbours(Marked):
    """A mapper of two records at a time."""

    def make_dataset(self, records, seed):
        return PositionDataset(records, lambda row: (row["image_id"], row["position"], seed), seed)


def test_a_mapper_may_say_itself_what_a_position_shows(set_cfg, register):
    register("my_neighbours", Neighbours)
    set_cfg.INPUT.DATASET_MAPPER_NAME = "my_neighbours"
    batches = list(itertools.islice(build_train_loader(set_cfg), 3))
    assert [[row[1:] for row in batch] for batch in batches] == [
        [(4 * i + k, set_cfg.SEED) for k in range(4)] for i in range(3)
    ]
    assert {row[0] for batch in batches for row in batch} == {0, 1, 2}
    resumed = build_train_loader(set_cfg, start_iter=2)
    assert next(iter(resumed)) == batches[2]


def test_a_mapper_may_be_made_of_a_registered_one(set_cfg, register):
    set_cfg.INPUT.TASK = "semantic"
    set_cfg.INPUT.IMAGE_SIZE = 8
    register("twice", lambda cfg, is_train: [build_mapper(cfg, is_train, "coco_panoptic_lsj")] * 2)
    set_cfg.INPUT.DATASET_MAPPER_NAME = "twice"
    set_cfg.freeze()
    first, _ = build_mapper(set_cfg, True)
    assert type(first) is SegmentationMapper
    assert set_cfg.INPUT.DATASET_MAPPER_NAME == "twice"
    with pytest.raises(ValueError, match="'thrice' is unknown"):
        build_mapper(set_cfg, True, "thrice")


def test_the_example_of_the_documentation_trains_and_repeats_its_clicks(set_cfg):
    text = (Path(__file__).resolve().parents[2] / "docs/plugging_in.md").read_text()
    section = text.split("## A mapper of one's own")[1]
    lines = itertools.dropwhile(lambda line: not line.startswith("    "), section.splitlines())
    block = itertools.takewhile(lambda line: not line or line.startswith("    "), lines)
    exec(textwrap.dedent("\n".join(block)), {"__name__": __name__})
    try:
        set_cfg.INPUT.DATASET_MAPPER_NAME = "instances_with_clicks"
        set_cfg.INPUT.TASK, set_cfg.INPUT.IMAGE_SIZE = "semantic", 8
        (batch, again) = (next(iter(build_train_loader(set_cfg))) for _ in range(2))
        for one, other in zip(batch, again):
            masks, clicks = one["instances"].gt_masks.tensor, one["clicks"]
            assert clicks.points.equal(other["clicks"].points)
            for mask, (x, y) in zip(masks, clicks.points.long().tolist()):
                assert mask[y, x]
        assert sum(len(one["clicks"].points) for one in batch) >= 4
        (first, *_) = build_test_loader(set_cfg, set_cfg.DATASETS.TEST[0])
        assert "clicks" not in first[0]
    finally:
        del MAPPER_REGISTRY._obj_map["instances_with_clicks"]

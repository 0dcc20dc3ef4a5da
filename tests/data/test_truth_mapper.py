"""Test inputs with truth: at the photo's size, and equal to what training and evaluation read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeseg.data import SegmentationMapper, TruthMapper, build_test_loader
from freeseg.data.annotation_files import read_class_map
from freeseg.data.panoptic import id2rgb
from freeseg.structures import JUDGED_TASKS

SIZE = (20, 30)
NAMES = ["kite", "cat", "sky"]
IDS = np.full(SIZE, 9)
IDS[:3] = 0
IDS[5:12, 4:9] = 300
IDS[8:15, 15:28] = 2
SEGMENTS = [
    {"id": 9, "category_id": 2, "isthing": False},
    {"id": 300, "category_id": 0, "isthing": True},
    {"id": 2, "category_id": 1, "isthing": True, "iscrowd": 1},
]
OBJECTS = [
    {"category_id": 1, "segmentation": [[4, 5, 9, 5, 9, 12, 4, 12]]},
    {"category_id": 0, "segmentation": [[15, 8, 28, 8, 28, 15, 15, 15]]},
    {"category_id": 0, "iscrowd": 1, "segmentation": [[0, 0, 3, 0, 3, 3, 0, 3]]},
]
LABELS = np.array([2, 0, 1, 255])[np.searchsorted([0, 2, 9], IDS)]


@pytest.fixture
def records(tmp_path, write_image):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3))
    photo = {"file_name": str(write_image(tmp_path / "photo.png", pixels)), "image_id": 1}
    png = {"pan_seg_file_name": str(write_image(tmp_path / "ids.png", id2rgb(IDS)))}
    labels = {"sem_seg_file_name": str(write_image(tmp_path / "labels.png", LABELS))}
    return {
        "panoptic": {**photo, **png, "segments_info": SEGMENTS},
        "both": {**photo, **png, "segments_info": SEGMENTS, **labels},
        "objects": {**photo, "annotations": OBJECTS},
        "semantic": {**photo, **labels},
    }


def enlarging(cfg) -> SegmentationMapper:
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 40, 100
    return SegmentationMapper(cfg, False)


@pytest.mark.parametrize("kind", ["panoptic", "both", "objects", "semantic"])
@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_truth_is_what_training_learns_without_augmentation(cfg, records, kind, task):
    record, plain = records[kind], enlarging(cfg)
    if (kind, task) == ("semantic", "instance"):
        with pytest.raises(ValueError, match=r"photo.png has only semantic .* no instance targets"):
            TruthMapper(plain, task)(record)
        return
    output = TruthMapper(plain, task)(record)
    learned = SegmentationMapper(augmentations=[], image_format="RGB", task=task)(record)
    expected, found = learned["instances"], output["instances"]
    assert found.image_size == SIZE
    assert torch.equal(found.gt_classes, expected.gt_classes)
    assert torch.equal(found.gt_masks.tensor, expected.gt_masks.tensor)
    for box, mask in zip(found.gt_boxes.tensor.tolist(), expected.gt_masks.tensor):
        y, x = mask.nonzero().unbind(1)
        assert box == [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]


@pytest.mark.parametrize("kind", ["panoptic", "both", "semantic"])
def test_the_class_map_is_what_evaluation_judges_by(cfg, records, kind):
    sem_seg = TruthMapper(enlarging(cfg), "semantic")(records[kind])["sem_seg"]
    assert sem_seg.dtype == torch.int64
    assert (sem_seg.numpy() == read_class_map(records[kind], 255)).all()


def test_objects_have_a_class_map_that_is_void_where_none_is(cfg, records):
    sem_seg = TruthMapper(enlarging(cfg))(records["objects"])["sem_seg"].numpy()
    expected = np.full(SIZE, 255)
    expected[5:12, 4:9] = 1
    expected[8:15, 15:28] = 0
    expected[:3, :3] = 0
    assert (sem_seg == expected).all()


def test_the_rest_of_the_input_is_the_mappers(cfg, records):
    plain = enlarging(cfg)
    output, expected = TruthMapper(plain)(records["panoptic"]), plain(records["panoptic"])
    assert set(output) - set(expected) == {"instances", "sem_seg"}
    assert output["image"].shape == (3, 40, 60)
    assert torch.equal(output["image"], expected["image"])
    assert (output["height"], output["width"]) == SIZE


def test_void_is_of_the_set(cfg, records):
    output = TruthMapper(enlarging(cfg), ignore_label=77)(records["panoptic"])
    assert output["sem_seg"][0].unique().tolist() == [77]


def test_ignored_pixels_lie_on_the_photo(cfg, records):
    ignored = np.zeros(SIZE, dtype=bool)
    ignored[2:4, 5:9] = True
    counts = np.diff(np.flatnonzero(np.diff(ignored.T.ravel(), prepend=0, append=0)), prepend=0)
    code = {"size": list(SIZE), "counts": [*counts.tolist(), ignored.size - int(counts.sum())]}
    output = TruthMapper(enlarging(cfg))({**records["objects"], "ignored_pixels": code})
    assert (output["ignored"].numpy() == ignored).all()
    assert "ignored_pixels" not in output
    wrong = {"size": [20, 31], "counts": [20 * 31]}
    with pytest.raises(ValueError, match=r"ignored pixels of .*photo.png: "):
        TruthMapper(enlarging(cfg))({**records["objects"], "ignored_pixels": wrong})


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="one of semantic, instance, panoptic, got 'object'"):
        TruthMapper(dict, "object")


def test_the_test_loader_gives_truth_where_it_is_asked_for(cfg, loader, records):
    cfg.INPUT.MIN_SIZE_TEST = 40
    given = [records["panoptic"], {**records["panoptic"], "image_id": 2}]
    name = loader(given, stuff_classes=NAMES, ignore_label=200)
    for (one,) in build_test_loader(cfg, name, truth_task="instance"):
        assert one["instances"].gt_classes.tolist() == [0]
        assert one["vocabulary"].names == tuple(NAMES)
    assert all("instances" not in batch[0] for batch in build_test_loader(cfg, name))
    own = SegmentationMapper(augmentations=[], image_format="RGB", is_train=False)
    for (one,) in build_test_loader(cfg, name, own, truth_task="panoptic"):
        assert one["image"].shape == (3, *SIZE)
        assert one["instances"].gt_classes.tolist() == [2, 0]
        assert one["sem_seg"].max() == 200

"""Every key of INPUT that the mapper reads acts, and no other one: two values, two mappers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from freeseg.data import SegmentationMapper
from freeseg.data.augmentation import RandomColorSSD
from freeseg.data.mapper import PUBLISHED_MAPPERS, BatchTasks
from freeseg.data.photos import PhotoReader

CLASSES = ["kite", "sky", "cat"]

# name -> (tasks of its targets, whether it scales by large steps), as the releases say
PUBLISHED = {
    "coco_panoptic_lsj": ("panoptic", True),
    "coco_instance_lsj": ("instance", True),
    "mask_former_semantic": ("semantic", False),
    "mask_former_panoptic": ("panoptic", False),
    "mask_former_instance": ("instance", False),
    "oneformer_unified": ("random", False),
    "coco_unified_lsj": ("random", True),
    "coco_full_lsj": ("per_batch", False),
    "ade20k_full_lsj": ("per_batch", False),
    "lseg_semantic": ("semantic", True),
}
JITTERS = [name for name, (_, is_jitter) in PUBLISHED.items() if is_jitter]
CROPS = [name for name in PUBLISHED if name not in JITTERS]


@pytest.fixture
def train_cfg(cfg):
    cfg.DATASETS.TRAIN = ("mapper_keys",)
    MetadataCatalog.get("mapper_keys").set(ignore_label=250, stuff_classes=CLASSES)
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.75
    cfg.INPUT.COLOR_AUG_SSD = True
    yield cfg
    MetadataCatalog.remove("mapper_keys")


def plain(value):
    """Numbers and texts of an object, deep down, to be compared."""
    if isinstance(value, (list, tuple)):
        return tuple(plain(each) for each in value)
    if isinstance(value, (T.Augmentation, BatchTasks, PhotoReader)):
        rows = {key: plain(each) for key, each in vars(value).items() if key != "input_args"}
        return (type(value).__name__, tuple(sorted(rows.items())))
    return value if isinstance(value, (int, float, str, type(None))) else repr(value)


def described(mapper: SegmentationMapper) -> dict:
    values = {key: plain(value) for key, value in vars(mapper).items() if key != "augmentations"}
    for number, step in enumerate(mapper.augmentations.augs):
        values[f"step {number}"] = plain(step)
    return values


def step(mapper: SegmentationMapper, kind: type):
    (found,) = [each for each in mapper.augmentations.augs if isinstance(each, kind)]
    return found


def built(cfg, name: str, *values) -> SegmentationMapper:
    other = cfg.clone()
    other.INPUT.DATASET_MAPPER_NAME = name
    other.merge_from_list(list(values))
    return SegmentationMapper(other, True)


CATEGORY_CROP = T.RandomCrop_CategoryAreaConstraint
ANY = {
    "INPUT.FORMAT": ("BGR", lambda m: (m.image_format, step(m, RandomColorSSD).image_format)),
    "INPUT.EXIF": ("stored", lambda m: m.reader.frame),
    "INPUT.WHITE_LEVEL": (4095, lambda m: m.reader.white_level),
    "INPUT.TASK": ("instance", lambda m: m.task),
    "INPUT.TASK_NAME": (["instance segmentation."], lambda m: m.batch_tasks.tasks),
    "SOLVER.IMS_PER_BATCH": (6, lambda m: m.batch_tasks.batch_size),
    "INPUT.COLOR_AUG_SSD": (False, lambda m: len(m.augmentations.augs)),
    "INPUT.RANDOM_FLIP": (
        "vertical",
        lambda m: (step(m, T.RandomFlip).horizontal, step(m, T.RandomFlip).vertical),
    ),
    "INPUT.TASK_PROB.SEMANTIC": (0.25, lambda m: m.task_probabilities),
    "INPUT.TASK_PROB.INSTANCE": (0.75, lambda m: m.task_probabilities),
}
OF_JITTER = {
    "INPUT.IMAGE_SIZE": (56, lambda m: step(m, T.FixedSizeCrop).crop_size),
    "INPUT.MIN_SCALE": (0.5, lambda m: step(m, T.ResizeScale).min_scale),
    "INPUT.MAX_SCALE": (1.5, lambda m: step(m, T.ResizeScale).max_scale),
    "INPUT.BASE_SIZE": (77, lambda m: step(m, T.ResizeScale).target_width),
}
OF_CROP = {
    "INPUT.MIN_SIZE_TRAIN": ((30, 40), lambda m: step(m, T.ResizeShortestEdge).short_edge_length),
    "INPUT.MAX_SIZE_TRAIN": (99, lambda m: step(m, T.ResizeShortestEdge).max_size),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": (
        "range",
        lambda m: step(m, T.ResizeShortestEdge).sample_style,
    ),
    "INPUT.CROP.TYPE": ("absolute", lambda m: m.augmentations.augs[1].crop_type),
    "INPUT.CROP.SIZE": ([0.5, 0.25], lambda m: m.augmentations.augs[1].crop_size),
    "INPUT.CROP.ENABLED": (False, lambda m: len(m.augmentations.augs)),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": (
        0.5,
        lambda m: step(m, CATEGORY_CROP).single_category_max_area,
    ),
    "INPUT.SIZE_DIVISIBILITY": (32, lambda m: m.size_divisibility),
}
TWO_SIZES = ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "INPUT.MIN_SIZE_TRAIN", (30, 40))  # of a range
EXPECTED = {  # with the key, without it
    "INPUT.FORMAT": (("BGR", "BGR"), ("RGB", "RGB")),
    "INPUT.EXIF": ("stored", "auto"),
    "INPUT.WHITE_LEVEL": (4095, 65535),
    "INPUT.TASK_NAME": (("instance",), ("semantic",)),
    "SOLVER.IMS_PER_BATCH": (6, 4),
    "INPUT.RANDOM_FLIP": ((False, True), (True, False)),
    "INPUT.TASK_PROB.SEMANTIC": ((0.25, 0.66 - 0.25, 1 - 0.66), (0.33, 0.66 - 0.33, 1 - 0.66)),
    "INPUT.TASK_PROB.INSTANCE": ((0.33, 0.75 - 0.33, 0.25), (0.33, 0.66 - 0.33, 1 - 0.66)),
    "INPUT.IMAGE_SIZE": ((56, 56), (1024, 1024)),
    "INPUT.MIN_SCALE": (0.5, 0.1),
    "INPUT.MAX_SCALE": (1.5, 2.0),
    "INPUT.BASE_SIZE": (77, 1024),
    "INPUT.MIN_SIZE_TRAIN": ((30, 40), (800,)),
    "INPUT.MAX_SIZE_TRAIN": (99, 1333),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("range", "choice"),
    "INPUT.CROP.TYPE": ("absolute", "relative_range"),
    "INPUT.CROP.SIZE": ([0.5, 0.25], [0.9, 0.9]),
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": (0.5, 0.75),
    "INPUT.SIZE_DIVISIBILITY": (32, -1),
}


SWITCHES = {"INPUT.COLOR_AUG_SSD": (3, 4), "INPUT.CROP.ENABLED": (3, 4)}  # numbers of steps


def test_the_published_names_are_known():
    assert set(PUBLISHED_MAPPERS) == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_name_stands_for_its_task_and_its_steps_in_their_order(train_cfg, name):
    task, is_jitter = PUBLISHED[name]
    mapper = built(train_cfg, name)
    assert mapper.task == task
    kinds = [type(each).__name__ for each in mapper.augmentations.augs]
    crop = "RandomCrop" if task == "instance" else "RandomCrop_CategoryAreaConstraint"
    assert kinds == (
        ["RandomFlip", "ResizeScale", "FixedSizeCrop", "RandomColorSSD"]
        if is_jitter
        else ["ResizeShortestEdge", crop, "RandomColorSSD", "RandomFlip"]
    )
    assert (mapper.ignore_label, mapper.num_classes, mapper.is_train) == (250, 3, True)
    assert is_jitter or task == "instance" or step(mapper, CATEGORY_CROP).ignored_category == 250


def keys_of(name: str) -> dict:
    return {**ANY, **(OF_JITTER if name in JITTERS else OF_CROP)}


@pytest.mark.parametrize("name", ["coco_panoptic_lsj", "mask_former_panoptic", "oneformer_unified"])
@pytest.mark.parametrize("key", [*ANY, *OF_JITTER, *OF_CROP])
def test_a_key_acts_on_its_own_part_of_the_mapper_and_nowhere_else(train_cfg, name, key):
    value, read = (ANY | OF_JITTER | OF_CROP)[key]
    values = [key, value]
    if key == TWO_SIZES[0]:
        train_cfg.merge_from_list(list(TWO_SIZES[1:]))
    before, after = built(train_cfg, name), built(train_cfg, name, *values)
    if key not in keys_of(name):
        assert described(after) == described(before)
        return
    task = PUBLISHED[name][0]
    with_key, without = {**EXPECTED, "INPUT.TASK": ("instance", task), **SWITCHES}[key]
    assert (read(after), read(before)) == (with_key, without)


def test_switches_leave_their_step_out(train_cfg):
    for key, value, kind in (
        ("INPUT.COLOR_AUG_SSD", False, RandomColorSSD),
        ("INPUT.CROP.ENABLED", False, CATEGORY_CROP),
        ("INPUT.RANDOM_FLIP", "none", T.RandomFlip),
    ):
        kinds = [type(each) for each in built(train_cfg, "mask_former_semantic").augmentations.augs]
        kinds.remove(kind)
        found = built(train_cfg, "mask_former_semantic", key, value).augmentations.augs
        assert [type(each) for each in found] == kinds


def test_a_named_task_stands_for_that_of_the_mapper(train_cfg):
    assert built(train_cfg, "coco_instance_lsj", "INPUT.TASK", "semantic").task == "semantic"


@pytest.mark.parametrize(
    ("semantic", "instance", "is_good"),
    [
        (0.0, 0.0, True),
        (0.0, 1.0, True),
        (1.0, 1.0, True),
        (0.5, 0.5, True),
        (-0.01, 0.5, False),
        (0.5, 0.49, False),
        (0.5, 1.01, False),
    ],
)
def test_shares_of_tasks_reach_their_limits(train_cfg, semantic, instance, is_good):
    prefix = "INPUT.TASK_PROB"
    values = (f"{prefix}.SEMANTIC", semantic, f"{prefix}.INSTANCE", instance)
    if is_good:
        found = built(train_cfg, "oneformer_unified", *values).task_probabilities
        assert found == (semantic, instance - semantic, 1 - instance)
        return
    with pytest.raises(ValueError, match=f"is cumulative: .* got {semantic} and {instance}"):
        built(train_cfg, "oneformer_unified", *values)


def test_classes_are_not_counted_where_sets_have_their_own_lists(train_cfg):
    train_cfg.DATASETS.MIX_LABEL_SETS = True
    assert built(train_cfg, "coco_panoptic_lsj").num_classes is None


def test_at_test_time_there_are_only_the_keys_of_photos_and_of_their_size(train_cfg):
    train_cfg.INPUT.EXIF, train_cfg.INPUT.FORMAT, train_cfg.INPUT.WHITE_LEVEL = "stored", "BGR", 99
    train_cfg.INPUT.MIN_SIZE_TEST, train_cfg.INPUT.MAX_SIZE_TEST = 55, 66
    train_cfg.INPUT.DATASET_MAPPER_NAME = "no name"
    mapper = SegmentationMapper(train_cfg, False)
    (resize,) = mapper.augmentations.augs
    assert (resize.short_edge_length, resize.max_size) == ([55, 55], 66)
    assert (mapper.image_format, mapper.is_train) == ("BGR", False)
    assert mapper.reader == PhotoReader("stored", 99)
    assert mapper.vocabulary is None


def test_training_sets_without_an_ignore_label_have_the_usual_one(cfg):
    cfg.INPUT.DATASET_MAPPER_NAME = "coco_panoptic_lsj"
    cfg.DATASETS.TRAIN = ()
    assert SegmentationMapper(cfg, True).ignore_label == 255


def test_keys_reach_the_samples(train_cfg, tmp_path, write_image):
    """Of a photo twice as wide as high, without any chance: sizes, channels and padding."""
    photo = np.tile([10, 100, 200], (20, 40, 1))
    record = {
        "file_name": str(write_image(tmp_path / "photo.png", photo)),
        "sem_seg_file_name": str(write_image(tmp_path / "labels.png", np.ones((20, 40)))),
    }
    plain_values = ["INPUT.RANDOM_FLIP", "none", "INPUT.COLOR_AUG_SSD", False]
    plain_values += ["INPUT.CROP.ENABLED", False, "INPUT.MIN_SIZE_TRAIN", (15,)]
    plain_values += ["INPUT.SIZE_DIVISIBILITY", 8, "INPUT.FORMAT", "BGR"]
    output = built(train_cfg, "mask_former_semantic", *plain_values)(record)
    assert output["image"].shape == (3, 16, 32)
    assert output["image"][:, :15, :30].unique(dim=1).flatten(1).T.unique(dim=0).tolist() == [
        [200, 100, 10]
    ]
    mask = torch.zeros(16, 32, dtype=torch.bool)
    mask[:15, :30] = True
    assert output["instances"].gt_masks.tensor.equal(mask[None])

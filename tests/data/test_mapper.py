from __future__ import annotations

import random
import re

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from detectron2.data.detection_utils import SizeMismatchError
from freeseg.data import SegmentationMapper
from freeseg.data.mapper import PUBLISHED_MAPPERS, seeded
from freeseg.data.panoptic import id2rgb
from freeseg.structures import JUDGED_TASKS

HEIGHT, WIDTH = 40, 60


def panoptic_ids() -> np.ndarray:
    ids = np.full((HEIGHT, WIDTH), 300, dtype=np.int32)  # stuff, an id beyond a byte
    ids[:4] = 0  # void
    ids[10:20, 5:15] = 1
    ids[10:20, 30:45] = 70000
    ids[30:35, 50:60] = 2  # crowd
    return ids


SEGMENTS = [
    {"id": 300, "category_id": 2, "isthing": False, "iscrowd": 0},
    {"id": 1, "category_id": 0, "isthing": True, "iscrowd": 0},
    {"id": 70000, "category_id": 0, "isthing": True, "iscrowd": 0},
    {"id": 2, "category_id": 1, "isthing": True, "iscrowd": 1},
]


@pytest.fixture
def record(tmp_path, write_image):
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3))
    return {
        "file_name": str(write_image(tmp_path / "photo.png", pixels)),
        "pan_seg_file_name": str(write_image(tmp_path / "ids.png", id2rgb(panoptic_ids()))),
        "segments_info": SEGMENTS,
        "image_id": 5,
        "height": HEIGHT,
        "width": WIDTH,
    }


def plain(task="panoptic", **options) -> SegmentationMapper:
    return SegmentationMapper(
        augmentations=options.pop("augmentations", []), image_format="RGB", task=task, **options
    )


def test_panoptic_targets_are_the_segments_of_the_annotation(record):
    output = plain("panoptic")(record)
    targets = output["instances"]
    ids = panoptic_ids()
    by_area = sorted(zip(targets.gt_classes.tolist(), targets.gt_masks.tensor.sum((1, 2)).tolist()))
    assert by_area == [(0, 100), (0, 150), (2, int((ids == 300).sum()))]
    for label, mask in zip(targets.gt_classes.tolist(), targets.gt_masks.tensor.numpy()):
        assert len(np.unique(ids[mask])) == 1
        assert {300: 2, 1: 0, 70000: 0}[int(ids[mask][0])] == label


def test_instance_targets_have_no_stuff_and_no_crowd(record):
    targets = plain("instance")(record)["instances"]
    assert targets.gt_classes.tolist() == [0, 0]


def test_semantic_targets_cover_everything_but_void(record):
    targets = plain("semantic")(record)["instances"]
    assert targets.gt_classes.tolist() == [0, 1, 2]
    covered = targets.gt_masks.tensor.any(0).numpy()
    assert np.array_equal(covered, panoptic_ids() != 0)


def test_output_has_what_detectron2_models_read_and_no_annotation(record):
    output = plain()(record)
    assert output["image"].dtype == torch.uint8
    assert output["image"].shape == (3, HEIGHT, WIDTH)
    assert output["instances"].gt_classes.dtype == torch.int64
    assert output["instances"].gt_masks.tensor.dtype == torch.bool
    assert (output["task"], output["image_id"]) == ("panoptic", 5)
    assert (output["height"], output["width"]) == (HEIGHT, WIDTH)
    assert not {"segments_info", "pan_seg_file_name", "annotations"} & set(output)


def test_the_record_is_not_changed(record):
    before = {**record, "segments_info": [dict(row) for row in SEGMENTS]}
    plain()(record)
    assert record == before


def test_image_and_targets_move_together(record):
    flipped = plain(augmentations=[T.RandomFlip(prob=1.0)])(record)
    straight = plain()(record)
    assert torch.equal(flipped["image"], straight["image"].flip(2))
    assert torch.equal(
        flipped["instances"].gt_masks.tensor, straight["instances"].gt_masks.tensor.flip(2)
    )


def test_channel_order_follows_the_format(record):
    bgr = SegmentationMapper(augmentations=[], image_format="BGR")(record)["image"]
    assert torch.equal(bgr, plain()(record)["image"].flip(0))


def test_padding_is_grey_and_never_a_target(record):
    output = plain("semantic", size_divisibility=32)(record)
    assert output["image"].shape == (3, 64, 64)
    assert output["instances"].image_size == (64, 64)
    assert (output["image"][:, HEIGHT:] == 128).all()
    assert (output["image"][:, :, WIDTH:] == 128).all()
    masks = output["instances"].gt_masks.tensor
    assert not masks[:, HEIGHT:].any()
    assert not masks[:, :, WIDTH:].any()


def test_an_image_of_void_has_no_targets(record, tmp_path, write_image):
    write_image(tmp_path / "ids.png", np.zeros((HEIGHT, WIDTH, 3)))
    for task in ("semantic", "instance", "panoptic"):
        targets = plain(task)(record)["instances"]
        assert len(targets) == 0
        assert targets.gt_masks.tensor.shape == (0, HEIGHT, WIDTH)
        assert targets.gt_classes.shape == (0,)


def test_targets_cropped_away_are_dropped(record):
    corner = plain("panoptic", augmentations=[FixedCrop(0, 22, 20, 8)])(record)
    assert corner["instances"].gt_classes.tolist() == [2]


class FixedCrop(T.Augmentation):
    def __init__(self, *box: int) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image):
        return T.CropTransform(*self.box)


def test_instance_annotation_gives_the_same_targets_as_the_same_panoptic_one(record):
    boxes = {1: [5, 10, 10, 10], 70000: [30, 10, 15, 10]}
    rows = [
        {"category_id": 0, "iscrowd": 0, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
        for x, y, w, h in boxes.values()
    ]
    rows.append(
        {"category_id": 1, "iscrowd": 1, "segmentation": [[50, 30, 60, 30, 60, 35, 50, 35]]}
    )
    annotated = {key: value for key, value in record.items() if not key.startswith(("pan", "segm"))}
    expected = plain("instance")(record)["instances"]
    actual = plain("instance")({**annotated, "annotations": rows})["instances"]
    assert torch.equal(actual.gt_classes, expected.gt_classes)
    assert torch.equal(actual.gt_masks.tensor, expected.gt_masks.tensor)


@pytest.fixture
def semantic_record(record, tmp_path, write_image):
    labels = np.full((HEIGHT, WIDTH), 255)
    labels[5:] = 3
    labels[20:, 20:] = 0
    path = write_image(tmp_path / "labels.png", labels)
    return {
        "file_name": record["file_name"],
        "sem_seg_file_name": str(path),
    }


def test_a_semantic_png_gives_semantic_targets(semantic_record):
    targets = plain("semantic")(semantic_record)["instances"]
    assert targets.gt_classes.tolist() == [0, 3]
    assert targets.gt_masks.tensor.sum((1, 2)).tolist() == [800, 35 * 60 - 800]


def test_a_semantic_png_gives_no_instances(semantic_record):
    with pytest.raises(ValueError, match="only semantic ground truth, which gives no instance"):
        plain("instance")(semantic_record)


def test_a_random_task_skips_what_the_annotation_cannot_give(semantic_record):
    mapper = plain("random", task_probabilities=(0.5, 0.5, 0.0))
    assert {mapper(semantic_record)["task"] for _ in range(10)} == {"semantic"}


def test_a_random_task_follows_its_probabilities(record):
    mapper = plain("random", task_probabilities=(0.25, 0.5, 0.25))
    tasks = [mapper({**record, "seed": 0, "position": i})["task"] for i in range(80)]
    shares = [tasks.count(task) / 80 for task in ("semantic", "instance", "panoptic")]
    assert np.allclose(shares, (0.25, 0.5, 0.25), atol=0.12)


def test_a_record_without_ground_truth_is_refused(record):
    with pytest.raises(ValueError, match="has no ground truth"):
        plain()({"file_name": record["file_name"]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"task": "stuff"},
            "task must be one of semantic, instance, panoptic, random or per_batch",
        ),
        ({"task_probabilities": (1.0, -1.0, 1.0)}, "3 numbers >= 0"),
        ({"task_probabilities": (1.0,)}, "3 numbers >= 0"),
    ],
    ids=["task", "negative probability", "too few probabilities"],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SegmentationMapper(augmentations=[], image_format="RGB", **options)


@pytest.mark.parametrize("key", ["file_name", "pan_seg_file_name"])
def test_a_damaged_file_is_named(record, key):
    with open(record[key], "r+b") as file:
        file.truncate(100)
    with pytest.raises((OSError, ValueError), match=re.escape(record[key])):
        plain()(record)


def test_an_image_of_another_size_than_annotated_is_refused(record):
    with pytest.raises(SizeMismatchError):
        plain()({**record, "height": HEIGHT + 1})


# configuration


@pytest.fixture
def train_cfg(cfg):
    cfg.DATASETS.TRAIN = ("mapper_test",)
    MetadataCatalog.get("mapper_test").set(ignore_label=255)
    cfg.INPUT.IMAGE_SIZE = 48
    cfg.INPUT.MIN_SIZE_TRAIN = (32, 40)
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute"
    cfg.INPUT.CROP.SIZE = [24, 24]
    cfg.INPUT.SIZE_DIVISIBILITY = 32
    cfg.INPUT.COLOR_AUG_SSD = True
    yield cfg
    MetadataCatalog.remove("mapper_test")


@pytest.mark.parametrize(
    "name", [name for name in PUBLISHED_MAPPERS if not re.search("full|lseg", name)]
)
def test_published_names_choose_task_and_geometry(train_cfg, record, name):
    train_cfg.INPUT.DATASET_MAPPER_NAME = name
    mapper = SegmentationMapper(train_cfg, True)
    outputs = [mapper({**record, "seed": 1, "position": position}) for position in range(12)]
    joint = ("oneformer_unified", "coco_unified_lsj")
    known = (
        set(JUDGED_TASKS)
        if name in joint
        else {name.split("_")[1 if name.startswith("coco") else 2]}
    )
    assert {output["task"] for output in outputs} == known
    output = outputs[0]
    assert output["image"].shape[1:] == ((48, 48) if name.endswith("lsj") else (32, 32))
    assert output["instances"].image_size == tuple(output["image"].shape[1:])


@pytest.mark.parametrize("name", ["coco_full_lsj", "ade20k_full_lsj"])
def test_mappers_of_all_tasks_crop_and_have_the_tasks_that_are_named(train_cfg, record, name):
    train_cfg.INPUT.DATASET_MAPPER_NAME = name
    train_cfg.INPUT.TASK_NAME = ["instance segmentation."]
    output = SegmentationMapper(train_cfg, True)({**record, "seed": 1, "position": 0})
    assert output["task"] == "instance"
    assert output["image"].shape[1:] == (32, 32)


def test_lsegs_recipe_scales_the_long_side_and_crops_at_another_size(train_cfg, record):
    train_cfg.INPUT.DATASET_MAPPER_NAME = "lseg_semantic"
    train_cfg.INPUT.BASE_SIZE, train_cfg.INPUT.MIN_SCALE, train_cfg.INPUT.MAX_SCALE = 60, 0.5, 0.5
    mapper = SegmentationMapper(train_cfg, True)
    output = mapper({**record, "seed": 1, "position": 0})
    assert output["task"] == "semantic"
    assert output["image"].shape[1:] == (48, 48)
    inside = output["instances"].gt_masks.tensor.any(0)
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    assert max(int(rows.max()), int(columns.max())) + 1 == 30  # half of the base


def steps(cfg, name: str) -> list[str]:
    cfg.INPUT.DATASET_MAPPER_NAME = name
    return [type(step).__name__ for step in SegmentationMapper(cfg, True).augmentations.augs]


def test_augmentations_come_in_the_published_order(train_cfg):
    train_cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.75
    short = ["ResizeShortestEdge", "RandomCrop_CategoryAreaConstraint", "RandomColorSSD"]
    assert steps(train_cfg, "mask_former_semantic") == [*short, "RandomFlip"]
    assert steps(train_cfg, "mask_former_instance")[1] == "RandomCrop"
    train_cfg.INPUT.COLOR_AUG_SSD = False
    jitter = ["RandomFlip", "ResizeScale", "FixedSizeCrop"]
    assert steps(train_cfg, "coco_panoptic_lsj") == jitter
    train_cfg.INPUT.RANDOM_FLIP = "none"
    train_cfg.INPUT.CROP.ENABLED = False
    assert steps(train_cfg, "coco_instance_lsj") == jitter[1:]
    assert steps(train_cfg, "mask_former_panoptic") == ["ResizeShortestEdge"]


def test_the_task_key_overrides_the_name(train_cfg, record):
    train_cfg.INPUT.TASK = "random"
    train_cfg.INPUT.TASK_PROB.SEMANTIC = 0.0
    train_cfg.INPUT.TASK_PROB.INSTANCE = 1.0
    mapper = SegmentationMapper(train_cfg, True)
    assert mapper.task_probabilities == (0.0, 1.0, 0.0)
    assert mapper(record)["task"] == "instance"


def test_task_probabilities_must_be_cumulative(train_cfg):
    train_cfg.INPUT.TASK_PROB.SEMANTIC = 0.7
    with pytest.raises(ValueError, match=r"cumulative: 0 <= SEMANTIC <= INSTANCE <= 1, got 0\.7"):
        SegmentationMapper(train_cfg, True)


def test_an_unknown_mapper_name_lists_the_known_ones(train_cfg):
    train_cfg.INPUT.DATASET_MAPPER_NAME = "lsj"
    with pytest.raises(ValueError, match="'lsj' is unknown; known names are coco_panoptic_lsj"):
        SegmentationMapper(train_cfg, True)


def test_training_sets_must_ignore_the_same_label(train_cfg):
    MetadataCatalog.get("mapper_test_2").set(ignore_label=65535)
    train_cfg.DATASETS.TRAIN = ("mapper_test", "mapper_test_2")
    try:
        with pytest.raises(ValueError, match="different ignore labels"):
            SegmentationMapper(train_cfg, True)
    finally:
        MetadataCatalog.remove("mapper_test_2")


def test_at_test_time_the_image_is_resized_and_its_size_kept(cfg, record):
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 20, 100
    output = SegmentationMapper(cfg, False)(record)
    assert output["image"].shape == (3, 20, 30)
    assert (output["height"], output["width"]) == (HEIGHT, WIDTH)
    assert "instances" not in output


def test_exif_orientation_is_applied_before_anything_else(cfg, tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[274] = 6  # to be shown turned by 90 degrees
    Image.fromarray(np.zeros((10, 30, 3), dtype=np.uint8)).save(path, exif=exif)
    cfg.INPUT.MIN_SIZE_TEST = 10
    output = SegmentationMapper(cfg, False)({"file_name": str(path)})
    assert (output["height"], output["width"]) == (30, 10)


# determinism


def test_a_position_fixes_the_sample_and_leaves_the_global_generators(train_cfg, record):
    mapper = SegmentationMapper(train_cfg, True)
    sample = {**record, "seed": 3, "position": 11}
    np.random.seed(0)
    random.seed(0)
    first = mapper(sample)
    after = (np.random.rand(), random.random())
    np.random.seed(0)
    random.seed(0)
    assert after == (np.random.rand(), random.random())
    second = mapper(sample)
    assert torch.equal(first["image"], second["image"])
    masks = [output["instances"].gt_masks.tensor for output in (first, second)]
    assert torch.equal(*masks)


def test_positions_and_seeds_draw_different_numbers():
    drawn = set()
    for key in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        with seeded(*key):
            drawn.add((np.random.rand(), random.random()))
    assert len(drawn) == 4
    assert len({numpy for numpy, _ in drawn}) == len({python for _, python in drawn}) == 4

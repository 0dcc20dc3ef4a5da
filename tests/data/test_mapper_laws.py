"""Laws of the mapper: whole outputs, void, limits of classes and padding, chance of its own."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from detectron2.data import transforms as T
from freeseg.data import SegmentationMapper
from freeseg.data.datasets.catalog import IGNORED_KEY, LABELS_KEY, STUFF_KEY
from freeseg.data.label_table import LabelTable
from freeseg.data.mapper import BatchTasks, seeded
from freeseg.data.panoptic import id2rgb
from freeseg.structures import JUDGED_TASKS, Vocabulary

SIZE = HEIGHT, WIDTH = 9, 14
IDS = np.random.default_rng(5).choice([0, 300, 70001, 6], SIZE).astype(np.int32)
STUFF = np.random.default_rng(6).choice([11, 12, 13, 255], SIZE)  # of its own values
PHOTO = np.random.default_rng(7).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
SEGMENTS = [
    {"id": 70001, "category_id": 4, "isthing": True, "iscrowd": 0},
    {"id": 300, "category_id": 2, "isthing": False, "iscrowd": 0},
    {"id": 6, "category_id": 1, "isthing": True, "iscrowd": 1},
]


def write(folder, write_image, around=((0, 0), (0, 0))):
    """A record of every key, with void around its truth and black around its photo."""
    files = {
        "file_name": np.pad(PHOTO, (*around, (0, 0))),
        "pan_seg_file_name": id2rgb(np.pad(IDS, around)),
        STUFF_KEY: np.pad(STUFF, around, constant_values=255),
    }
    record = {key: str(write_image(folder / f"{key}.png", pixels)) for key, pixels in files.items()}
    height, width = files["file_name"].shape[:2]
    return {
        **record,
        "segments_info": SEGMENTS,
        IGNORED_KEY: [7],  # the value 13
        LABELS_KEY: LabelTable({11: 2, 12: 5, 13: 7, 255: None}),
        "height": height,
        "width": width,
        "image_id": 31,
        "caption": "kites",
    }


def plain(task="panoptic", **options) -> SegmentationMapper:
    options = {"augmentations": [], "image_format": "RGB", **options}
    return SegmentationMapper(task=task, **options)


EXPECTED = {  # classes and masks, in their order
    "panoptic": [
        (4, IDS == 70001),
        (2, IDS == 300),
        (2, (IDS == 0) & (STUFF == 11)),
        (5, (IDS == 0) & (STUFF == 12)),
    ],
    "instance": [(4, IDS == 70001)],
    "semantic": [
        (1, IDS == 6),
        (2, (IDS == 300) | (IDS == 0) & (STUFF == 11)),
        (4, IDS == 70001),
        (5, (IDS == 0) & (STUFF == 12)),
    ],
}


@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_the_whole_output_of_a_record_with_every_key(tmp_path, write_image, task):
    record = write(tmp_path, write_image)
    output = plain(task)({**record, "seed": 1, "position": 5})
    rest = {key: output.pop(key) for key in ("image", "instances")}
    assert output == {
        "file_name": record["file_name"],
        "height": HEIGHT,
        "width": WIDTH,
        "image_id": 31,
        "caption": "kites",
        "position": 5,
        "task": task,
    }
    np.testing.assert_array_equal(rest["image"].numpy(), PHOTO.transpose(2, 0, 1))
    assert rest["image"].is_contiguous()
    assert rest["instances"].image_size == SIZE
    classes, masks = zip(*EXPECTED[task])
    assert rest["instances"].gt_classes.tolist() == list(classes)
    np.testing.assert_array_equal(rest["instances"].gt_masks.tensor.numpy(), np.stack(masks))


def test_the_whole_output_at_test_time(tmp_path, write_image):
    record = write(tmp_path, write_image)
    vocabulary = Vocabulary(("kite", "sky"), (True, False))
    steps = [T.ResizeTransform(*SIZE, 18, 7)]
    for given in (vocabulary, None):
        output = plain(is_train=False, vocabulary=given, augmentations=steps)(record)
        image = output.pop("image").numpy()
        np.testing.assert_array_equal(image, steps[0].apply_image(PHOTO).transpose(2, 0, 1))
        assert output == {
            "file_name": record["file_name"],
            "height": HEIGHT,
            "width": WIDTH,
            "image_id": 31,
            "caption": "kites",
            **({} if given is None else {"vocabulary": vocabulary}),
        }


@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_void_around_a_photo_and_its_truth_changes_nothing(tmp_path, write_image, task):
    around = ((3, 1), (2, 5))
    record = write(tmp_path / "inner", write_image)
    padded = write(tmp_path / "outer", write_image, around)
    one, other = plain(task)(record), plain(task)(padded)
    first, second = one["instances"], other["instances"]
    assert first.gt_classes.equal(second.gt_classes)
    inside = (slice(3, 3 + HEIGHT), slice(2, 2 + WIDTH))
    masks = second.gt_masks.tensor
    assert masks[:, inside[0], inside[1]].equal(first.gt_masks.tensor)
    assert masks.sum() == first.gt_masks.tensor.sum()
    crop = T.CropTransform(2, 3, WIDTH, HEIGHT)
    cut = plain(task, augmentations=[crop])(padded)
    assert cut["image"].equal(one["image"])
    assert cut["instances"].gt_masks.tensor.equal(first.gt_masks.tensor)


@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_a_crop_of_void_alone_has_no_targets(tmp_path, write_image, task):
    record = write(tmp_path, write_image, ((20, 0), (0, 0)))
    steps = [T.CropTransform(0, 0, WIDTH, 20), T.ResizeTransform(20, WIDTH, 8, 6)]
    for divisor in (-1, 32):
        output = plain(task, augmentations=steps, size_divisibility=divisor)(record)
        assert len(output["instances"]) == 0
        assert output["instances"].gt_masks.tensor.shape == (0, *output["image"].shape[1:])


@pytest.mark.parametrize(
    ("divisor", "size"),
    [(-1, SIZE), (0, SIZE), (1, SIZE), (2, (10, 14)), (7, (14, 14)), (9, (9, 18)), (15, (15, 15))],
)
def test_sides_are_padded_to_the_next_multiple_and_not_where_they_are_one(
    tmp_path, write_image, divisor, size
):
    output = plain("semantic", size_divisibility=divisor)(write(tmp_path, write_image))
    image, instances = output["image"], output["instances"]
    assert image.shape == (3, *size)
    assert instances.image_size == size
    padding = ((0, 0), (0, size[0] - HEIGHT), (0, size[1] - WIDTH))
    photo = np.pad(PHOTO.transpose(2, 0, 1), padding, constant_values=128)
    np.testing.assert_array_equal(image.numpy(), photo)
    masks = np.stack([mask for _, mask in EXPECTED["semantic"]])
    np.testing.assert_array_equal(instances.gt_masks.tensor.numpy(), np.pad(masks, padding))


@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_the_last_class_is_taken_and_the_next_one_is_refused(tmp_path, write_image, task):
    record = write(tmp_path, write_image)
    largest = max(label for label, _ in EXPECTED[task])
    assert len(plain(task, num_classes=largest + 1)(record)["instances"])
    with pytest.raises(
        ValueError, match=rf"file_name.png has class {largest}, but the {largest} classes .* to "
    ):
        plain(task, num_classes=largest)(record)
    assert len(plain(task, num_classes=None)(record)["instances"])
    assert len(plain(task, num_classes=1)({**record, "segments_info": [], IGNORED_KEY: [2, 5, 7]})
               ["instances"]) == 0  # fmt: skip


# chance


def test_a_random_task_is_one_that_the_record_can_give_with_its_share(tmp_path, write_image):
    record = write(tmp_path, write_image)
    semantic = {
        "file_name": record["file_name"],
        "sem_seg_file_name": record[STUFF_KEY],
        LABELS_KEY: record[LABELS_KEY],
    }
    shares = (0.1, 0.3, 0.6)
    for given, expected in ((record, shares), (semantic, (1 / 7, 0, 6 / 7))):
        mapper = plain("random", task_probabilities=shares)
        drawn = [mapper({**given, "seed": 2, "position": n})["task"] for n in range(120)]
        found = [drawn.count(task) / 120 for task in JUDGED_TASKS]
        np.testing.assert_allclose(found, expected, atol=0.12)
        assert found[1] == 0 or given is record


@pytest.mark.parametrize("key", [(None, None), (3, None), (None, 3)])
def test_without_seed_and_position_chance_is_the_callers(key):
    np.random.seed(1)
    random.seed(1)
    expected = (np.random.rand(), random.random(), np.random.rand(), random.random())
    np.random.seed(1)
    random.seed(1)
    with seeded(*key):
        drawn = (np.random.rand(), random.random())
    assert (*drawn, np.random.rand(), random.random()) == expected


def test_inside_chance_follows_from_the_key_and_after_an_error_it_is_the_callers():
    np.random.seed(1)
    random.seed(1)
    states = np.random.get_state()[1].tolist(), random.getstate()
    drawn = []

    def draw_and_fail():
        with seeded(0, 0):
            drawn.extend([np.random.rand(), random.random()])
            raise KeyError

    with pytest.raises(KeyError):
        draw_and_fail()
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states
    numbers = np.random.SeedSequence([0, 0]).generate_state(2).tolist()
    expected = [np.random.RandomState(numbers[0]).rand(), random.Random(numbers[1]).random()]
    assert drawn == expected


def test_a_batch_ends_exactly_at_its_size():
    tasks = BatchTasks(JUDGED_TASKS, batch_size=5)
    drawn = [tasks.draw({"seed": 3, "position": position}) for position in range(400)]
    assert {place % 5 for place in range(1, 400) if drawn[place] != drawn[place - 1]} == {0}
    single = BatchTasks(JUDGED_TASKS[1:2], 5)
    assert {single.draw({"seed": 3, "position": n}) for n in range(9)} == {JUDGED_TASKS[1]}
    with pytest.raises(ValueError, match=r"wanted some of the tasks .*, got \(\)"):
        BatchTasks((), 5)


@pytest.mark.parametrize("shares", [(0.0, 0.0, 1.0), (1, 0, 0)])
def test_a_share_may_be_nothing(shares):
    assert plain("random", task_probabilities=shares).task_probabilities == shares
    assert plain("random").task_probabilities == (1 / 3, 1 / 3, 1 / 3), "where none are given"


def test_tasks_of_batches_need_something_to_draw_from(tmp_path, write_image):
    with pytest.raises(ValueError, match="the task per_batch needs batch_tasks"):
        plain("per_batch")
    tasks = BatchTasks(("semantic",), 2)
    mapper = plain("per_batch", batch_tasks=tasks)
    record = {**write(tmp_path, write_image), "seed": 0, "position": 1}
    assert mapper(record)["task"] == "semantic"


@pytest.mark.parametrize("kind", ["panoptic", "objects"])
def test_crops_that_avoid_one_class_read_the_classes_of_any_annotation(tmp_path, write_image, kind):
    """Class 4 is only in two columns: windows of half the width show it far more often."""
    labels = np.full((20, 60), 1, np.int32)
    labels[:, 40:42] = 2
    record = {"file_name": str(write_image(tmp_path / "photo.png", np.zeros((20, 60, 3))))}
    if kind == "panoptic":
        record["pan_seg_file_name"] = str(write_image(tmp_path / "ids.png", id2rgb(labels)))
        record["segments_info"] = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 4}]
    else:
        boxes = {0: (0, 40), 4: (40, 42)}
        record["annotations"] = [
            {"category_id": label, "segmentation": [[a, 0, b, 0, b, 20, a, 20]], "iscrowd": 0}
            for label, (a, b) in boxes.items()
        ]
    shares = []
    for step in (
        T.RandomCrop("absolute", (20, 10)),
        T.RandomCrop_CategoryAreaConstraint("absolute", (20, 10), 0.95, 255),
    ):
        mapper = plain("semantic", augmentations=[step])
        outputs = [mapper({**record, "seed": 0, "position": n}) for n in range(40)]
        shares.append(np.mean([4 in output["instances"].gt_classes for output in outputs]))
    assert shares[0] < 0.45
    assert shares[1] > 0.75


def test_the_sample_of_a_position_is_the_same_in_any_order(tmp_path, write_image):
    record = write(tmp_path, write_image)
    mapper = plain("random", augmentations=[T.RandomFlip(), T.RandomCrop("absolute", (5, 6))])

    def sample(position: int) -> dict:
        return mapper({**record, "seed": 4, "position": position})

    straight = [sample(position) for position in range(12)]
    for position in (11, 3, 3, 0):
        other = sample(position)
        assert torch.equal(other["image"], straight[position]["image"])
        assert other["task"] == straight[position]["task"]
    assert len({each["image"].numpy().tobytes() for each in straight}) > 6

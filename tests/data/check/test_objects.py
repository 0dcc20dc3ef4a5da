"""What of the objects can be learned, and what cannot."""

from __future__ import annotations

import numpy as np
import pytest

from detectron2.structures import BoxMode
from freeseg.data.check.objects import check_objects, count_objects
from freeseg.structures import Vocabulary

CLASSES = Vocabulary(("ant", "bee", "cricket"), (True, True, True))
TRIANGLE = [[1, 1, 9, 1, 9, 9]]
RUNS = {"size": [20, 30], "counts": [40, 60, 500]}


def insect(label=0, mask=TRIANGLE, **more):
    return {"category_id": label, "segmentation": mask, **more}


def photo(*rows, name="a.png"):
    return {"file_name": name, "height": 20, "width": 30, "annotations": list(rows)}


@pytest.fixture
def look(problems):
    def run(*records, is_train=True):
        counts = count_objects("set", records, len(CLASSES), problems)
        check_objects("set", counts, CLASSES, problems, is_train=is_train)
        return counts

    return run


ALL = (insect(0), insect(1, RUNS), insect(2, np.ones((20, 30), bool)))


def test_masks_of_every_kind_count(look, problems):
    counts = look(photo(*ALL), photo(insect(1, iscrowd=1), insect(1), name="b.png"))
    assert (counts.objects, counts.crowds, counts.without_mask) == (5, 1, 0)
    assert dict(counts.of_class) == {0: 1, 1: 2, 2: 1}
    assert counts.most == (3, "a.png")
    assert problems.errors == problems.warnings == []


NO_MASK = (None, [], [[]], [[4, 4]], [[4, 4, 5, 5], [1, 2]])


@pytest.mark.parametrize("is_train", [True, False])
def test_objects_without_a_mask_are_counted(look, problems, is_train):
    bare = [insect(0, mask) for mask in NO_MASK] + [{"category_id": 1, "bbox": [1, 1, 2, 2]}]
    look(photo(*ALL, *bare), is_train=is_train)
    (line,) = problems.warnings
    assert line.startswith("set: 6 of 9 objects have no mask")
    assert line.endswith("background" if is_train else "nor is what is found there")
    assert not problems.errors


def test_masks_beside_the_photo_are_counted_and_left_out(look, problems):
    shares = [[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]
    beyond = [[100, 100, 120, 100, 120, 120]]
    counts = look(photo(*ALL, insect(1, shares), insect(2, beyond)))
    assert dict(counts.of_class) == {0: 1, 1: 1, 2: 1}
    (line,) = problems.warnings
    assert line.startswith("set: the masks of 2 of 5 objects have no pixel in the photo, such as ")
    assert "object 3 of a.png: left out" in line


def test_masks_elsewhere_than_their_boxes_are_counted(look, problems):
    by_columns = {"size": [20, 30], "counts": [5, 4, 591]}
    right = {"bbox": [1, 1, 9, 9], "bbox_mode": BoxMode.XYXY_ABS}
    wrong = {"bbox": [20, 2, 8, 9], "bbox_mode": BoxMode.XYWH_ABS}
    counts = look(photo(*ALL, insect(0, **right), insect(1, by_columns, **wrong)))
    assert sum(counts.of_class.values()) == 5, "masks count"
    (line,) = problems.warnings
    assert line.startswith("set: the masks of 1 of 5 objects lie elsewhere than their bbox, such ")
    assert "object 4 of a.png" in line


BOXES = {
    "of three": ({"bbox": [1, 2, 3]}, "has the bbox [1, 2, 3], wanted four numbers or none"),
    "of no mode": ({"bbox": [1, 2, 3, 4], "bbox_mode": "xywh"}, "has the bbox_mode 'xywh', wanted"),
    "a flag": ({"iscrowd": "0"}, "needs 'iscrowd', true, false, 1 or 0, got str '0'"),
}


@pytest.mark.parametrize(("fields", "message"), BOXES.values(), ids=BOXES)
def test_fields_that_mean_nothing_are_named(look, problems, fields, message):
    look(photo(*ALL, insect(0, **fields)))
    (line,) = problems.errors
    assert line.startswith(f"set: object 3 of a.png {message}")


REST = {
    "crowds": (
        [insect(iscrowd=1), insect(1, iscrowd=True)],
        "all 2 objects are crowds (iscrowd 1)",
    ),
    "no masks": ([insect(0, None)] * 3, "all 3 objects have no mask (segmentation)"),
    "both": (
        [insect(0, None), insect(iscrowd=1)],
        "all 2 objects are crowds (iscrowd 1) or have no mask (segmentation)",
    ),
    "no objects": ([], "no photo has an object"),
}


@pytest.mark.parametrize(("rows", "reason"), REST.values(), ids=REST)
def test_a_set_of_which_nothing_is_left_is_refused(look, problems, rows, reason):
    look(photo(*rows), photo(name="b.png"))
    (line,) = problems.errors
    assert line.startswith(f"set: {reason}")


def test_classes_without_objects_are_named_once_and_only_to_be_trained(look, problems):
    look(photo(insect(1)), is_train=False)
    assert not problems.warnings
    look(photo(insect(1), insect(0, iscrowd=1)))
    assert problems.warnings == ["set: no object of 2 of 3 classes: ant, cricket"]


BAD = {
    "odd": ([[1, 2, 3, 4, 5, 6, 7]], "a polygon is a list x, y"),
    "flat": ([1, 2, 3, 4, 5, 6], "a polygon is a list x, y"),
    "texts": ([["1", "2", "3", "4", "5", "6"]], "a polygon is a list x, y"),
    "other size": ({"size": [30, 20], "counts": [600]}, r"for an image of [30, 20]"),
    "too short": ({"size": [20, 30], "counts": [599]}, "its runs fill 599 pixels"),
    "text": ("1,2,3", "got str"),
    "a mask of another size": (np.ones((2, 2), bool), "for an image of (2, 2)"),
}


def test_masks_that_cannot_be_drawn_are_all_in_one_list(look, problems):
    masks = [mask for mask, _ in BAD.values()]
    look(
        photo(insect(), *(insect(0, mask) for mask in masks[:4])),
        photo(*(insect(2, mask) for mask in masks[4:])),
    )
    assert problems.num_errors == len(BAD)
    for line, (_, reason) in zip(problems.errors, list(BAD.values())[:5]):
        assert line.startswith("set: object ")
        assert reason in line


@pytest.mark.parametrize("label", [3, -1, None, "0", 1.0, True])
def test_classes_beyond_the_list_are_named(look, problems, label):
    look(photo(insect(), insect(label), name="x/b.png"))
    (line,) = problems.errors
    assert line == (
        f"set: object 1 of x/b.png has the category_id {label!r}, wanted a class number from 0 to 2"
    )


def test_segments_are_counted_like_objects(look, problems):
    rows = [{"id": 1, "category_id": 0}, {"id": 2, "category_id": 1, "iscrowd": 1}]
    record = {"file_name": "a.png", "segments_info": rows, "pan_seg_file_name": "b.png"}
    counts = look(record, record)
    assert (counts.objects, counts.crowds, counts.most) == (4, 2, (1, "a.png"))
    assert problems.warnings == ["set: no object of 2 of 3 classes: bee, cricket"]


NO_PIXEL = {
    "shares of the size": [[0.1, 0.1, 0.4, 0.1, 0.4, 0.4]],
    "outside": [[50, 50, 60, 50, 60, 60]],
    "a line": [[2, 5, 9, 5, 2, 5]],
    "empty runs": {"size": [20, 30], "counts": [600]},
    "an empty mask": np.zeros((20, 30), bool),
}


@pytest.mark.parametrize("mask", NO_PIXEL.values(), ids=NO_PIXEL)
def test_masks_without_a_pixel_are_counted_and_named(look, problems, mask):
    counts = look(photo(*ALL), photo(insect(2), insect(1, mask), name="b.png"))
    assert dict(counts.of_class) == {0: 1, 1: 1, 2: 2}
    (line,) = problems.warnings
    assert line.startswith("set: the masks of 1 of 5 objects have no pixel in the photo")
    assert "object 1 of b.png" in line


def test_nothing_but_masks_without_a_pixel_is_refused(look, problems):
    look(photo(*(insect(label, mask) for label, mask in enumerate([*NO_PIXEL.values()][:3]))))
    assert "set: all 3 objects have no mask" in problems.errors[0]


def test_masks_that_lie_elsewhere_than_their_boxes_are_counted(look, problems):
    """Runs are written down the columns; by rows they fill the photo as well."""
    mask = np.zeros((20, 30), np.uint8)
    mask[4:12, 2:9] = 1
    edges = np.flatnonzero(np.diff(mask.ravel())) + 1  # by rows
    by_rows = np.diff([0, *edges, mask.size]).tolist()
    box = {"bbox": [2, 4, 7, 8], "bbox_mode": 1}
    right = insect(0, mask.astype(bool), **box)
    wrong = insect(1, {"size": [20, 30], "counts": by_rows}, **box)
    counts = look(
        photo(right, insect(2, bbox=[1, 1, 9, 9], bbox_mode=0)), photo(wrong, name="b.png")
    )
    assert counts.elsewhere == ["object 0 of b.png"]
    (line,) = problems.warnings
    assert line.startswith("set: the masks of 1 of 3 objects lie elsewhere than their bbox")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"iscrowd": "0"}, "needs 'iscrowd', true, false, 1 or 0, got str '0'"),
        ({"iscrowd": None}, "needs 'iscrowd', true, false, 1 or 0, got NoneType None"),
        ({"bbox": [1, 2, 3]}, "has the bbox [1, 2, 3], wanted four numbers"),
        ({"bbox": [1, 2, 3, 4], "bbox_mode": "XYWH"}, "has the bbox_mode 'XYWH', wanted XYXY_ABS"),
    ],
)
def test_flags_and_boxes_of_own_loaders_are_read_strictly(look, problems, fields, reason):
    look(photo(*ALL, insect(1, **fields)))
    (line,) = problems.errors
    assert line.startswith("set: object 3 of a.png ")
    assert reason in line

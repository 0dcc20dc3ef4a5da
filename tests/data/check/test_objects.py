"""What of the objects can be learned, and what cannot."""

from __future__ import annotations

import numpy as np
import pytest

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
    assert line.endswith("background" if is_train else "not judged")
    assert not problems.errors


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

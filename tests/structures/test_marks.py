"""Marks are read from whatever holds them, and what is wrong is named with its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeseg.structures import Marks

SIZE = (40, 60)


@pytest.mark.parametrize(
    "wrap",
    [lambda rows: rows, np.asarray, torch.tensor, lambda rows: tuple(map(tuple, rows))],
    ids=["lists", "array", "tensor", "tuples"],
)
def test_one_object_may_come_without_its_axis(wrap):
    marks = Marks.read(SIZE, points=wrap([[5.5, 3.5], [60, 40]]), signs=[1, 0])
    assert len(marks) == 1
    assert marks.points.tolist() == [[[5.5, 3.5], [60, 40]]]
    assert marks.signs.tolist() == [[1, 0]]
    box = Marks.read(SIZE, boxes=np.asarray([1, 2, 30, 40]))
    assert box.boxes.tolist() == [[1, 2, 30, 40]]
    assert box.has_box.tolist() == [True]
    mask = np.zeros(SIZE, np.uint8)
    mask[3, 5] = 1
    assert Marks.read(SIZE, masks=mask).masks.nonzero().tolist() == [[0, 3, 5]]


def test_objects_of_unlike_numbers_of_points_are_filled_with_absent_ones():
    points = [[(5, 3), (7, 9), (0, 0)], [], [[1, 2]]]
    marks = Marks.read(SIZE, points=points, signs=[[True, False, 1], [], [0]])
    assert marks.signs.tolist() == [[1, 0, 1], [-1, -1, -1], [0, -1, -1]]
    assert marks.points[0].tolist() == [[5, 3], [7, 9], [0, 0]]
    assert marks.points[2, 0].tolist() == [1, 2]
    assert marks.has_box.tolist() == [False] * 3
    assert Marks.read(SIZE, points=points).signs.tolist()[0] == [1, 1, 1]


def test_rows_are_of_one_object_each():
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    marks = Marks.read(
        SIZE,
        points=torch.tensor([[[1, 2]], [[3, 4]]]),
        boxes=[[0, 0, 9, 8], [10, 11, 60, 40]],
        masks=masks,
        strokes=masks,
    )
    assert len(marks) == 2
    assert (marks.masks.shape, marks.strokes.shape) == ((2, *SIZE), (2, *SIZE))
    assert Marks.read(SIZE).boxes.shape == (0, 4)
    assert len(Marks.read(SIZE)) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": [[[1, 2]], [[3, 41]]]}, r"points\[1\]\[0\] is outside the photo of 60 x 40"),
        ({"points": [(-0.5, 2)]}, r"points\[0\]\[0\] is outside"),
        ({"points": [(float("nan"), 2)]}, r"points\[0\]\[0\] is outside"),
        ({"points": [(1, 2), (3, 4, 5)]}, r"points\[0\]\[1\] must be 2 numbers, got \[3, 4, 5\]"),
        ({"points": [("a", 2)]}, r"points\[0\]\[0\] must be 2 numbers"),
        ({"points": [(True, 2)]}, r"points\[0\]\[0\] must be 2 numbers"),
        ({"points": 3}, "points must be lists"),
        ({"points": "ab"}, "points must be lists"),
        ({"points": [(1, 2)], "signs": [2]}, r"the sign of points\[0\]\[0\] must be 1 or 0, got 2"),
        ({"points": [(1, 2)], "signs": [1, 1]}, r"\[1\] by object, got \[2\]"),
        ({"signs": [1]}, "no points were given"),
        ({"boxes": [[0, 0, 5, 5], [9, 0, 8, 5]]}, r"boxes\[1\] must be left, top, right, bottom"),
        ({"boxes": [0, 0, 5, 0]}, r"boxes\[0\] must be left, top, right, bottom with an area"),
        ({"boxes": [0, 0, 61, 5]}, r"boxes\[0\] is outside the photo"),
        ({"masks": np.zeros((60, 40))}, r"wanted masks of \(40, 60\), the photo's, got"),
        ({"masks": np.full(SIZE, 0.5)}, "masks must be bool, or 0 and 1"),
        ({"strokes": np.full(SIZE, 255)}, "strokes must be bool"),
        ({"points": [(1, 2)], "boxes": [[0, 0, 5, 5]] * 2}, "points of 1, boxes of 2"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(fields, message):
    with pytest.raises(ValueError, match=message):
        Marks.read(SIZE, **fields)


def test_the_border_is_in_the_photo_and_beyond_is_not():
    assert Marks.read(SIZE, points=[(60, 40), (0, 0)]).points.tolist() == [[[60, 40], [0, 0]]]
    for beyond in ((60.01, 40), (60, 40.01), (-0.01, 0), (0, -0.01)):
        with pytest.raises(ValueError, match="outside"):
            Marks.read(SIZE, points=[beyond])


def test_two_points_off_one_object_are_two_points():
    assert Marks.read((20, 30), points=[(1, 2), (3, 4)], signs=[0, 0]).signs.tolist() == [[0, 0]]


def test_objects_of_which_nothing_is_said_are_known():
    rough = np.zeros((3, 20, 30))
    rough[2, 3, 4] = 1
    marks = Marks.read((20, 30), points=[[(1, 2)], [], []], masks=rough)
    assert marks.is_said.tolist() == [True, False, True]
    strokes = Marks.read((20, 30), points=[[], [], []], strokes=rough)
    assert strokes.is_said.tolist() == [False, False, True]
    assert Marks.read((20, 30), boxes=[[1, 1, 2, 2]]).is_said.all()


def test_refined_marks_have_both_ones_points_and_the_newer_boxes():
    rough = np.ones((2, 20, 30))
    first = Marks.read((20, 30), points=[[(1, 2)], [(3, 4), (5, 6)]], masks=rough)
    first.boxes[0] = torch.tensor([1.0, 1, 9, 9])
    more = Marks.read((20, 30), points=[[], [(7, 8)]], signs=[[], [0]])
    found = first.refined(more)
    assert found.points[1].tolist() == [[3, 4], [5, 6], [7, 8]]
    assert found.signs.tolist() == [[1, -1, -1], [1, 1, 0]]
    assert found.boxes[0].tolist() == [1, 1, 9, 9]
    assert found.has_box.tolist() == [True, False]
    assert found.masks is None
    moved = found.refined(Marks.read((20, 30), boxes=[[2, 2, 8, 8], [3, 3, 9, 9]]))
    assert moved.boxes.tolist() == [[2, 2, 8, 8], [3, 3, 9, 9]]
    assert torch.equal(moved.points, found.points)
    with pytest.raises(ValueError, match="marks of 1 objects cannot refine an answer about 2"):
        first.refined(Marks.read((20, 30), points=[(1, 1)]))

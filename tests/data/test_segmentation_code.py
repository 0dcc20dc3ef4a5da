"""Runs, boxes and limits of segmentations, against COCO's own library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays
from pycocotools import mask as codec

from freeseg.data.segmentation_code import (
    FARTHEST,
    as_runs,
    box_of,
    check_segmentation,
    drawable,
    run_lengths,
)

SIZE = (9, 14)
MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40))


def counted(mask: np.ndarray) -> list[int]:
    """Lengths of stretches of equal pixels, columns first, the first one of background."""
    runs, value = [0], False
    for pixel in mask.ravel(order="F").tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def encoded(mask: np.ndarray) -> dict:
    return codec.encode(np.asfortranarray(mask, dtype=np.uint8))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(MASKS)
def test_runs_are_those_that_one_counts(mask):
    text = encoded(mask)["counts"]
    assert run_lengths(text) == run_lengths(text.decode()) == counted(mask)


def test_long_runs_take_many_characters():
    for length in (1, 15, 16, 31, 32, 511, 512, 1023, 1024, 40_000, 1_000_000):
        mask = np.zeros((length + 3, 1), bool)
        mask[length:] = True
        assert run_lengths(encoded(mask)["counts"]) == [length, 3]


@pytest.mark.parametrize("text", [b"P", b"11P", "11P"])
def test_a_text_that_ends_within_a_number_is_refused(text):
    with pytest.raises(ValueError, match="its runs are cut off"):
        run_lengths(text)
    with pytest.raises(ValueError, match="its runs are cut off"):
        check_segmentation({"size": [1, 2], "counts": text}, (1, 2))


def kinds(mask: np.ndarray) -> dict:
    size = list(mask.shape)
    text = encoded(mask)["counts"]
    return {
        "mask": mask,
        "bytes": {"size": size, "counts": text},
        "text": {"size": size, "counts": text.decode()},
        "numbers": {"size": size, "counts": counted(mask)},
    }


@settings(max_examples=40, deadline=None, derandomize=True)
@given(MASKS)
def test_every_way_to_write_a_mask_is_one_code_and_has_one_box(mask):
    rows, columns = np.nonzero(mask)
    box = [0.0] * 4
    if len(rows):
        left, top = columns.min(), rows.min()
        box = [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
    for written in kinds(mask).values():
        assert drawable(written, mask.shape) is written
        np.testing.assert_array_equal(codec.decode(as_runs(written, mask.shape)), mask)
        assert box_of(written, mask.shape) == box
        assert {type(side) for side in box_of(written, mask.shape)} == {float}


POLYGONS = [[2.5, 1, 8, 1.25, 8, 6, 2, 6], [9, 2, 12.75, 2, 11, 7.5]]


def test_polygons_are_drawn_together_and_their_box_is_as_written():
    parts = [codec.decode(each) for each in codec.frPyObjects(POLYGONS, *SIZE)]
    assert not (parts[0] & parts[1]).any()
    np.testing.assert_array_equal(codec.decode(as_runs(POLYGONS, SIZE)), parts[0] | parts[1])
    assert box_of(POLYGONS, SIZE) == [2.0, 1.0, 10.75, 6.5]


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ([[1, 1, 5, 5]], None),
        ([[1, 1, 5, 5], [1, 1, 5, 5, 1, 5]], [[1, 1, 5, 5, 1, 5]]),
        ([[1, 1, 5, 5, 1, 5]], [[1, 1, 5, 5, 1, 5]]),
    ],
)
def test_polygons_of_under_three_points_are_left_out(segmentation, expected):
    assert drawable(segmentation, SIZE) == expected


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("number", [int, float])
@pytest.mark.parametrize("place", range(6))
def test_a_point_may_be_exactly_as_far_as_the_limit(sign, number, place):
    polygon: list[float] = [1, 2, 3, 1, 2, 5]
    polygon[place] = number(sign * FARTHEST)
    check_segmentation([polygon], SIZE)
    polygon[place] = number(sign * (FARTHEST + 1))
    with pytest.raises(ValueError, match="is more than 1,000,000 pixels away"):
        check_segmentation([polygon], SIZE)


NO_POLYGONS = {
    "an odd number of numbers": [1, 1, 5, 5, 3],
    "no number": [1, 1, 5, 5, 3, "4"],
    "nothing": [1, 1, 5, 5, 3, None],
    "not a number": [1, 1, 5, 5, 3, float("nan")],
    "no end": [1, 1, 5, 5, 3, float("inf")],
    "no end of numpy's": [1, 1, 5, 5, 3, np.float64("inf")],
    "points": [[1, 1], [5, 5], [3, 4]],
    "a text": "115534",
    "a number": 3,
}


@pytest.mark.parametrize("polygon", NO_POLYGONS.values(), ids=NO_POLYGONS)
def test_what_is_no_polygon_is_refused_wherever_it_stands(polygon):
    good = [1, 1, 5, 5, 3, 4]
    for rows in ([polygon], [good, polygon], [polygon, good]):
        with pytest.raises(ValueError, match="a polygon is a list x, y, x, y"):
            check_segmentation(rows, SIZE)


def test_numbers_of_numpy_and_tuples_of_numbers_are_taken():
    for polygon in ([np.float64(1), True, 5, 5.5, 3, 4], (1, 1, 5, 5, 3, 4), []):
        check_segmentation([[1, 1, 5, 5, 3, 4], polygon], SIZE)


HEIGHT, WIDTH = SIZE
NO_RUNS = {
    "no size": ({"counts": [126]}, r"has counts and size, got \['counts'\]"),
    "no counts": ({"size": [9, 14]}, r"has counts and size, got \['size'\]"),
    "turned": ({"size": [14, 9], "counts": [126]}, r"for an image of \[14, 9\] .* is \(9, 14\)"),
    "a size of text": ({"size": "ab", "counts": [126]}, "it is for an image of 'ab'"),
    "one too few": ({"size": [9, 14], "counts": [125]}, "fill 125 pixels, the image has 9x14"),
    "one too many": ({"size": [9, 14], "counts": [100, 27]}, "fill 127 pixels"),
    "text, one too few": ({"size": [9, 14], "counts": "d3"}, "fill 116 pixels"),
    "negative": ({"size": [9, 14], "counts": [127, -1]}, "must be whole numbers from 0"),
    "fractions": ({"size": [9, 14], "counts": [125.0, 1]}, "must be whole numbers from 0"),
    "other counts": ({"size": [9, 14], "counts": 126}, "counts are a list or a text, got int"),
    "a mask turned": (np.zeros((14, 9)), r"for an image of \(14, 9\)"),
}


@pytest.mark.parametrize(("code", "message"), NO_RUNS.values(), ids=NO_RUNS)
def test_what_are_no_runs_of_the_image_is_refused(code, message):
    with pytest.raises(ValueError, match=message):
        drawable(code, SIZE)


@pytest.mark.parametrize("counts", [[126], [0, 126], [0, 0, 126], [100, 0, 26]])
@pytest.mark.parametrize("size", [[9, 14], (9, 14)])
def test_runs_that_fill_the_image_are_taken(counts, size):
    check_segmentation({"size": size, "counts": counts}, SIZE)


@pytest.mark.parametrize("segmentation", [3, "runs", ([1, 1, 5, 5, 3, 4],), np.zeros((9, 14, 1))])
def test_another_kind_of_thing_is_refused(segmentation):
    with pytest.raises(TypeError, match="a list of polygons, a COCO run-length dict or a mask"):
        drawable(segmentation, SIZE)

from __future__ import annotations

import numpy as np
import panopticapi.utils
import pytest
from scipy import ndimage

from freeseg.data.panoptic import (
    components_to_panoptic,
    id2rgb,
    measured_segments,
    panoptic_to_semantic,
    rgb2id,
    runs,
    segment_geometry,
    unique_labels,
)


def test_ids_beyond_a_byte_survive_the_colour_coding():
    ids = np.array([[0, 1, 255, 256], [257, 65535, 65536, 256**3 - 1]], dtype=np.int32)
    assert np.array_equal(rgb2id(id2rgb(ids)), ids)


def test_colour_coding_agrees_with_panopticapi():
    ids = np.random.default_rng(0).integers(0, 256**3, (17, 23)).astype(np.int32)
    assert np.array_equal(id2rgb(ids), panopticapi.utils.id2rgb(ids.copy()))
    assert np.array_equal(rgb2id(id2rgb(ids)), panopticapi.utils.rgb2id(id2rgb(ids)))


def test_alpha_of_a_panoptic_png_is_ignored():
    rgba = np.array([[[1, 2, 3, 255]]], dtype=np.uint8)
    assert rgb2id(rgba).tolist() == [[1 + 2 * 256 + 3 * 65536]]


@pytest.mark.parametrize("ids", [[[-1]], [[256**3]]], ids=["negative", "too large"])
def test_ids_that_no_colour_can_hold_are_refused(ids):
    with pytest.raises(ValueError, match="segment ids must lie in"):
        id2rgb(ids)


def test_a_grey_png_is_no_panoptic_png():
    with pytest.raises(ValueError, match=r"shape \[H, W, 3\], got \[4, 5\]"):
        rgb2id(np.zeros((4, 5), dtype=np.uint8))


def test_segment_geometry_agrees_with_brute_force():
    ids = np.random.default_rng(1).choice([0, 3, 7, 4000], size=(12, 9)).astype(np.int32)
    ids[:, 0] = 0
    expected = {}
    for segment in (3, 7, 4000):
        rows, columns = np.nonzero(ids == segment)
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        expected[segment] = (len(rows), [columns.min(), rows.min(), width, height])
    assert segment_geometry(ids) == expected


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (1, 7), (13, 9), (40, 60)])
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_labels_and_their_places_are_those_of_numpy(size, dtype):
    labels = np.random.default_rng(0).integers(0, 5, size, dtype=dtype).repeat(2, axis=1)
    for each in (labels, labels.T, labels[:, ::2]):
        expected, places = np.unique(each, return_inverse=True)
        present, found = unique_labels(each)
        np.testing.assert_array_equal(present, expected)
        np.testing.assert_array_equal(found, places.reshape(each.shape))


def test_semantic_map_keeps_crowds_and_ignores_void_and_unknown_categories():
    ids = np.array([[1, 1, 2], [3, 0, 4]])
    segments = [
        {"id": 1, "category_id": 10, "iscrowd": 0},
        {"id": 2, "category_id": 20, "iscrowd": 1},
        {"id": 3, "category_id": 99, "iscrowd": 0},
    ]
    labels = panoptic_to_semantic(ids, segments, {10: 0, 20: 1})
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 0, 1], [255, 255, 255]]


def test_semantic_map_of_many_classes_does_not_wrap():
    labels = panoptic_to_semantic(
        np.array([[1]]), [{"id": 1, "category_id": 5}], {5: 700}, ignore_label=65535
    )
    assert labels.tolist() == [[700]]


LABELS = np.array(
    [
        [0, 9, 9, 0, 9],
        [9, 0, 9, 9, 9],
        [9, 9, 9, 9, 255],
        [5, 5, 9, 0, 0],
    ]
)


def test_components_touch_over_corners_and_stuff_is_one_segment():
    ids, segments = components_to_panoptic(LABELS, thing_classes=[0, 5], ignore_label=255)
    assert [row["category_id"] for row in segments] == [0, 0, 0, 5, 9]
    assert ids[0, 0] == ids[1, 1], "a diagonal neighbour belongs to the same thing"
    assert len(np.unique(ids[LABELS == 9])) == 1
    assert (ids == 0).sum() == 1


def test_tiny_components_become_one_crowd_per_class():
    ids, segments = components_to_panoptic(LABELS, thing_classes=[0, 5], min_area=2)
    crowds = [row for row in segments if row["iscrowd"]]
    assert [row["category_id"] for row in crowds] == [0]
    assert (ids == crowds[0]["id"]).sum() == 1
    assert ids[0, 3] == crowds[0]["id"]


@pytest.mark.parametrize("min_area", [1, 2, 100])
def test_semantic_labels_survive_the_approximation(min_area):
    ids, segments = components_to_panoptic(LABELS, [0, 5], 255, min_area)
    identity = {value: value for value in range(10)}
    assert np.array_equal(panoptic_to_semantic(ids, segments, identity), LABELS)


def test_a_map_without_pixels_has_no_colours_and_no_runs():
    empty = np.zeros((0, 5), np.int32)
    assert id2rgb(empty).shape == (0, 5, 3)
    assert [each.tolist() for each in runs(empty)] == [[], []]


@pytest.mark.parametrize("shape", [(4, 5, 2), (4, 5), (1, 4, 5, 3)])
def test_other_shapes_are_no_panoptic_png(shape):
    with pytest.raises(ValueError, match=r"a panoptic PNG has shape \[H, W, 3\], got"):
        rgb2id(np.zeros(shape, np.uint8))


def test_runs_end_where_any_of_the_maps_changes():
    draw = np.random.default_rng(0)
    maps = [draw.integers(0, 2, (3, 7)), draw.integers(0, 3, (3, 7))]
    starts, lengths = runs(*maps)
    pixels = list(zip(*(each.ravel().tolist() for each in maps)))
    expected = [place for place in range(21) if not place or pixels[place] != pixels[place - 1]]
    assert starts.tolist() == expected
    assert lengths.tolist() == np.diff([*expected, 21]).tolist()


def test_measured_segments_are_those_with_a_pixel_in_the_order_of_the_annotation():
    ids = np.random.default_rng(2).choice([0, 300, 7, 4000, 5], size=(12, 9)).astype(np.int32)
    segments = [
        {"id": 4000, "category_id": 41, "iscrowd": True, "isthing": 1},
        {"id": 6, "category_id": 43, "iscrowd": 0},
        {"id": 7, "category_id": 40},
        {"id": 300, "category_id": 40, "iscrowd": 0, "area": 1, "bbox": [0, 0, 1, 1]},
    ]
    expected = []
    for number, category, crowd in ((4000, 41, 1), (7, 40, 0), (300, 40, 0)):
        rows, columns = np.nonzero(ids == number)
        left, top = columns.min(), rows.min()
        box = [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
        row = {"id": number, "category_id": category, "iscrowd": crowd}
        expected.append({**row, "area": len(rows), "bbox": box})
    found = measured_segments(ids, segments)
    assert found == expected
    assert {type(row["iscrowd"]) for row in found} == {int}


@pytest.mark.parametrize(("ignored", "label"), [(255, 3), (256, 3), (0, 255), (0, 256), (255, 0)])
def test_the_semantic_map_is_in_bytes_exactly_where_they_hold_all_numbers(ignored, label):
    segments = [{"id": 70000, "category_id": 5}]
    labels = panoptic_to_semantic(np.array([[70000, 0]]), segments, {5: label}, ignored)
    assert labels.tolist() == [[label, ignored]]
    assert labels.dtype == (np.uint8 if max(ignored, label) < 256 else np.uint16)
    no_class = panoptic_to_semantic(np.array([[1]]), [], {}, ignored)
    assert no_class.tolist() == [[ignored]]


@pytest.mark.parametrize("seed", range(12))
def test_components_are_those_of_scipy(seed):
    """Stuff whole, things by corners, the tiny ones of a class together."""
    draw = np.random.default_rng(seed)
    labels = draw.choice([0, 3, 9, 255], size=(9, 14), p=[0.3, 0.2, 0.4, 0.1])
    min_area = int(draw.integers(1, 6))
    expected = {}  # pixels -> (class, is crowd)
    stuff = 3
    for label in (0, 3, 9):
        of_class = labels == label
        numbers, count = ndimage.label(of_class, np.ones((3, 3)))
        parts = (
            [numbers == number for number in range(1, count + 1)] if label != stuff else [of_class]
        )
        tiny = [part for part in parts if label != stuff and part.sum() < min_area]
        for part in parts:
            if label == stuff or part.sum() >= min_area:
                expected[part.tobytes()] = (label, 0)
        if tiny:
            expected[np.logical_or.reduce(tiny).tobytes()] = (label, 1)
    ids, segments = components_to_panoptic(labels, {0, 9}, 255, min_area)
    assert [row["id"] for row in segments] == list(range(1, len(segments) + 1))
    found = {(ids == row["id"]).tobytes(): (row["category_id"], row["iscrowd"]) for row in segments}
    assert found == expected
    np.testing.assert_array_equal(ids == 0, labels == 255)
    assert ids.dtype == np.int32


def test_components_of_default_size_are_all_things():
    ids, segments = components_to_panoptic(np.array([[1, 0, 1]]), [1], ignore_label=0)
    assert ids.tolist() == [[1, 0, 2]]
    assert [row["iscrowd"] for row in segments] == [0, 0]
    ids, _ = components_to_panoptic(np.array([[255, 254]]), [254])
    assert ids.tolist() == [[0, 1]], "255 is void where nothing else is said"

from __future__ import annotations

import numpy as np
import pytest

from freeseg.data.panoptic import (
    components_to_panoptic,
    id2rgb,
    panoptic_to_semantic,
    rgb2id,
    segment_geometry,
    unique_labels,
)


def test_ids_beyond_a_byte_survive_the_colour_coding():
    ids = np.array([[0, 1, 255, 256], [257, 65535, 65536, 256**3 - 1]], dtype=np.int32)
    assert np.array_equal(rgb2id(id2rgb(ids)), ids)


def test_colour_coding_agrees_with_panopticapi():
    panopticapi = pytest.importorskip("panopticapi.utils")
    ids = np.random.default_rng(0).integers(0, 256**3, (17, 23)).astype(np.int32)
    assert np.array_equal(id2rgb(ids), panopticapi.id2rgb(ids.copy()))
    assert np.array_equal(rgb2id(id2rgb(ids)), panopticapi.rgb2id(id2rgb(ids)))


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

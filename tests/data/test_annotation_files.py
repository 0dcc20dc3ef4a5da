"""Which file of a record is read, as what, and what is said of one that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from freeseg.data.annotation import InstanceMasks, SegmentMap
from freeseg.data.annotation_files import (
    drawable_record,
    read_annotation,
    read_class_map,
    read_labels,
    read_picture,
    read_segment_ids,
)
from freeseg.data.datasets.catalog import IGNORED_KEY, LABELS_KEY, STUFF_KEY
from freeseg.data.label_table import LabelTable
from freeseg.data.panoptic import id2rgb
from freeseg.structures import JUDGED_TASKS

SIZE = (4, 7)
IDS = np.random.default_rng(0).choice([0, 300, 70001], SIZE)
LABELS = np.random.default_rng(1).choice([3, 8, 255], SIZE)
PNG, ROWS, MAP = "pan_seg_file_name", "annotations", "sem_seg_file_name"


@pytest.fixture
def record(tmp_path, write_image):
    return {
        "file_name": "photo.jpg",
        PNG: str(write_image(tmp_path / "ids.png", id2rgb(IDS))),
        "segments_info": [
            {"id": 300, "category_id": 6, "isthing": False},
            {"id": 70001, "category_id": 2, "isthing": True},
        ],
        ROWS: [{"category_id": 5, "segmentation": [[1, 1, 5, 1, 5, 3]]}],
        MAP: str(write_image(tmp_path / "labels.png", LABELS)),
    }


@pytest.mark.parametrize(
    ("keys", "kind", "tasks", "classes"),
    [
        ((PNG, "segments_info", ROWS, MAP), SegmentMap, JUDGED_TASKS, [6, 2]),
        ((PNG, "segments_info", MAP), SegmentMap, JUDGED_TASKS, [6, 2]),
        ((ROWS, MAP), InstanceMasks, JUDGED_TASKS, [5]),
        ((ROWS,), InstanceMasks, JUDGED_TASKS, [5]),
        ((MAP,), SegmentMap, ("semantic", "panoptic"), [3, 8]),
    ],
    ids=["everything", "panoptic", "objects and a map", "objects", "map"],
)
def test_segments_come_before_objects_and_these_before_a_map(record, keys, kind, tasks, classes):
    given = {key: record[key] for key in ("file_name", *keys)}
    annotation, found = read_annotation(given, SIZE, 255)
    assert type(annotation) is kind
    assert tuple(found) == tasks
    assert [segment.class_id for segment in annotation.segments] == classes


@pytest.mark.parametrize("key", [PNG, MAP])
@pytest.mark.parametrize("size", [(4, 8), (5, 7), (7, 4)])
def test_a_png_of_another_size_than_its_photo_is_named(record, key, size):
    given = {name: record[name] for name in ("file_name", "segments_info", key)}
    with pytest.raises(ValueError, match=rf"png is 7x4 pixels, its photo is {size[1]}x{size[0]}"):
        read_annotation(given, size, 255)


def test_objects_stay_as_they_are_and_are_named_with_their_photo(record):
    rows = record[ROWS]
    annotation, _ = read_annotation({"file_name": "x.jpg", ROWS: rows}, SIZE, 255)
    rows[0]["segmentation"][0][:] = [0] * 6
    assert annotation.class_map(9).min() == 5, "a later change of the record does not reach it"
    for bad in ([[1, 2, 3]], 5.0):
        rows = [{"category_id": 5, "segmentation": [bad]}]
        with pytest.raises(ValueError, match=r"annotation of x.jpg: mask 0 of 1: a polygon is"):
            read_annotation({"file_name": "x.jpg", ROWS: rows}, SIZE, 255)


def test_class_maps_come_from_the_semantic_png_else_from_the_segments(record):
    np.testing.assert_array_equal(read_class_map(record, 255), LABELS)
    given = {key: record[key] for key in (PNG, "segments_info")}
    for void in (255, 99):
        expected = np.select([IDS == 300, IDS == 70001], [6, 2], void)
        np.testing.assert_array_equal(read_class_map(given, void), expected)
    np.testing.assert_array_equal(read_segment_ids(given), IDS)


@pytest.mark.parametrize("key", [MAP, STUFF_KEY])
def test_labels_are_looked_up_and_then_ignored_by_their_class(record, key):
    table = LabelTable({3: 10, 8: 20, 255: None})
    given = {key: record[MAP], LABELS_KEY: table}
    np.testing.assert_array_equal(
        read_labels(given, key, 99), np.select([LABELS == 3, LABELS == 8], [10, 20], 99)
    )
    np.testing.assert_array_equal(
        read_labels({**given, IGNORED_KEY: [20, 3]}, key, 99), np.where(LABELS == 3, 10, 99)
    )
    np.testing.assert_array_equal(
        read_labels({key: record[MAP], IGNORED_KEY: [3, 20]}, key, 99),
        np.where(LABELS == 3, 99, LABELS),
    )


def test_labels_that_mean_nothing_and_colours_are_named_with_their_file(record, tmp_path):
    with pytest.raises(ValueError, match=r"labels.png has the label 8, which is none of 3"):
        read_labels({MAP: record[MAP], LABELS_KEY: LabelTable({3: 0, 255: None})}, MAP, 255)
    with pytest.raises(ValueError, match=r"ids.png has colours, wanted one number per pixel"):
        read_labels({MAP: record[PNG]}, MAP, 255)


@pytest.mark.parametrize("has_table", [False, True])
def test_a_record_is_drawn_by_its_classes_where_values_are_none(record, has_table):
    given = {**record, **({LABELS_KEY: LabelTable({3: 1, 8: 0, 255: None})} if has_table else {})}
    drawn = drawable_record(given, 255)
    assert drawn is not given
    labels = drawn.pop("sem_seg", None)
    assert drawn == given
    assert (labels is not None) == has_table
    if has_table:
        np.testing.assert_array_equal(labels, np.select([LABELS == 3, LABELS == 8], [1, 0], 255))
    without = {key: value for key, value in given.items() if key != MAP}
    assert drawable_record(without, 255) == without


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_picture_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(OSError, match=rf"cannot read {path}: "):
        read_picture(str(path))
    with pytest.raises(OSError, match=r"cannot read .*absent\.png"):
        read_picture(str(tmp_path / "absent.png"), "RGB")

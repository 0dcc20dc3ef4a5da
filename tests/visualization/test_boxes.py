"""Boxes without masks: what is drawn, written and counted of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from freeseg.structures import InstanceSet, SegmentationResult, Vocabulary
from freeseg.visualization import Segmentation
from freeseg.visualization.annotations import AnnotationFiles
from freeseg.visualization.drawn_segments import frame_of
from freeseg.visualization.overlay import _headings
from freeseg.visualization.summary import describe, summarize

SIZE = (48, 64)
BOXES = [[4.0, 6.0, 24.0, 40.0], [30.5, 0.0, 64.0, 20.0], [9.0, 9.0, 9.0, 12.0]]
NAMES = ("car", "dog")


@pytest.fixture
def found():
    instances = InstanceSet(
        None,
        torch.tensor(BOXES),
        torch.tensor([0, 1, 0]),
        torch.tensor([0.9, 0.7, 0.6]),
        size=SIZE,
    )
    vocabulary = Vocabulary(NAMES, (True, True))
    photo = np.full((*SIZE, 3), 200, dtype=np.uint8)
    result = SegmentationResult(instances=instances)
    return Segmentation.from_result(photo, result, vocabulary, (3, 18))


def test_a_frame_is_the_edge_of_its_box():
    frame = frame_of(np.array([10.0, 20, 60, 90], dtype=np.float32), (400, 500))
    assert frame.sum() == 50 * 70 - 46 * 66  # of two pixels
    rows, columns = np.nonzero(frame)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 89, 10, 59)
    assert not frame_of(np.array([5, 5, 5, 9], dtype=np.float32), SIZE).any()
    thin = frame_of(np.array([5, 5, 6, 30], dtype=np.float32), SIZE)
    assert thin.sum() == 25


def test_edges_are_drawn_and_the_legend_has_no_areas(found):
    picture = found.picture("instance", min_score=0.5)
    changed = (picture != 200).any(axis=2)
    assert changed[6, 4:24].all()
    assert changed[6:40, 4].all()
    assert _headings(found, "instance") == ("score",)
    assert found.overlay("instance").shape[1] > SIZE[1]


def test_rows_have_boxes_and_no_segmentation(found):
    assert found.masks is None
    rows = found.to_rle("instance")
    assert [row["bbox"] for row in rows] == [[4, 6, 20, 34], [30.5, 0, 33.5, 20], [9, 9, 0, 3]]
    assert [row["area"] for row in rows] == [680, 670, 0]
    assert not any("segmentation" in row for row in rows)
    with pytest.raises(ValueError, match="boxes have no pixels"):
        found.number_map("instance")
    assert [entry["area"] for entry in summarize(found)["instance"]] == [680, 670, 0]
    assert describe(found) == "car x2, dog"


def test_files_have_them_too(found, tmp_path):
    paths = found.save(tmp_path, "photo")
    rows = json.loads(Path(paths["instances_json"]).read_text())
    assert [row["category_id"] for row in rows] == [3, 18, 3]
    assert not any("segmentation" in row for row in rows)
    files = AnnotationFiles(tmp_path / "annotations", min_score=0.5)
    files.add(found, file_name="photo.jpg")
    content = json.loads(Path(next(iter(files.save().values()))).read_text())
    assert [row["bbox"] for row in content["annotations"]] == [[4, 6, 20, 34], [30.5, 0, 33.5, 20]]
    assert [row["area"] for row in content["annotations"]] == [680, 670]


def test_supervision_gets_boxes(found):
    pytest.importorskip("supervision")
    detections = found.to_supervision("instance")
    assert detections.mask is None
    np.testing.assert_allclose(detections.xyxy, BOXES)

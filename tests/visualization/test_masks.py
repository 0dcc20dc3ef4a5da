"""Any task's result as masks, run-length codes, supervision's detections, and notebook pictures."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

sys.path.insert(0, str(Path(__file__).parent))
from sample import HEIGHT, WIDTH, sample_result

from freeseg.visualization.export import picture_keys


@pytest.fixture
def result():
    return sample_result()


def test_panoptic_segments_come_first_and_cover_what_the_map_says(result) -> None:
    ids, segments = result.panoptic
    assert result.names == ("tree", "road", "car", "car", "dog")
    assert result.labels.tolist() == [segment.label for segment in segments]
    np.testing.assert_array_equal(result.scores, np.float32([0.75, np.nan, 0.5, 0.25, 1]))
    for mask, segment in zip(result.masks, segments):
        np.testing.assert_array_equal(mask, ids == segment.id)
    np.testing.assert_array_equal(result.masks.sum(0), ids > 0)


def test_semantic_masks_are_the_classes(result) -> None:
    found = result.segments("semantic")
    assert found.names == ("car", "tree", "road")
    assert np.isnan(found.scores).all()
    for mask, label in zip(found.masks, found.labels):
        np.testing.assert_array_equal(mask, result.semantic == label)


def test_instances_stay_as_they_are(result) -> None:
    assert result.segments("instance") is result.instances


@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_boxes_are_tight(result, task: str) -> None:
    found = result.segments(task)
    for mask, box in zip(found.masks, found.boxes):
        rows, columns = np.nonzero(mask)
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_array_equal(box, tight)


@pytest.mark.parametrize("task", ["panoptic", "semantic", "instance"])
def test_run_lengths_decode_to_the_masks(result, task: str) -> None:
    rows = json.loads(json.dumps(result.to_rle(task)))
    found = result.segments(task)
    assert [row["name"] for row in rows] == list(found.names)
    for row, mask, score in zip(rows, found.masks, found.scores):
        np.testing.assert_array_equal(rle_codec.decode(row["segmentation"]), mask)
        assert row["area"] == mask.sum()
        assert row["score"] == (None if np.isnan(score) else score)


def test_supervision_gets_masks_boxes_classes_and_names(result) -> None:
    supervision = pytest.importorskip("supervision")
    detections = result.to_supervision("instance")
    assert isinstance(detections, supervision.Detections)
    np.testing.assert_array_equal(detections.mask, result.instances.masks)
    np.testing.assert_array_equal(detections.xyxy, result.instances.boxes)
    np.testing.assert_array_equal(detections.class_id, [0, 0, 2])
    np.testing.assert_array_equal(detections.confidence, [0.75, 0.25, 1])
    assert detections["class_name"].tolist() == ["car", "car", "dog"]
    assert result.to_supervision("panoptic").confidence is None  # one segment has none
    assert len(detections[detections.confidence > 0.5]) == 2


def test_nothing_found_is_empty_not_an_error(result) -> None:
    supervision = pytest.importorskip("supervision")
    empty = sample_result()
    object.__setattr__(empty, "panoptic", type(empty.panoptic)(0 * empty.panoptic.segment_ids, ()))
    assert empty.masks.shape == (0, HEIGHT, WIDTH)
    assert empty.segments().boxes.shape == (0, 4)
    assert empty.to_rle() == []
    assert empty.to_supervision() == supervision.Detections.empty()


def test_without_supervision_the_error_says_what_to_install(result, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match=r"pip install 'freeseg\[supervision\]'"):
        result.to_supervision()


def test_notebooks_show_the_overlay(result) -> None:
    shown = np.asarray(Image.open(io.BytesIO(result._repr_png_())))
    np.testing.assert_array_equal(shown, result.overlay())


def test_only_the_formats_asked_for_are_written(result, tmp_path: Path) -> None:
    def written(*formats: str) -> set[str]:
        folder = tmp_path / "-".join(formats)
        paths = result.save(folder, "x", formats=formats)
        assert {path.name for path in paths.values()} == {p.name for p in folder.iterdir()}
        pictures = {f"x_{key}.png" for key in picture_keys(formats, result.tasks)}
        assert pictures == {path.name for path in folder.glob("*.png")}
        return {path.name for path in folder.iterdir()}

    assert written("overlay") == {f"x_{task}_overlay.png" for task in result.tasks}
    assert written("coco") == {"x_panoptic.json", "x_panoptic.png", "x_instances.json"}
    assert written("labelmap") == {
        "x_panoptic.png",
        "x_panoptic_colors.png",
        "x_semantic.png",
        "x_semantic_colors.png",
        "x_semantic.json",
    }
    assert written("rle", "html") == {"x_rle.json", "x.html"}
    rows = json.loads((tmp_path / "rle-html" / "x_rle.json").read_text())
    assert rows["instance"] == result.to_rle("instance")
    assert set(result.save(tmp_path / "text", formats="rle, html")) == {"rle_json", "html"}
    for wrong in ((), ("gif",), "gif"):
        with pytest.raises(ValueError, match="wanted some of the formats overlay,labelmap,coco"):
            result.save(tmp_path, "x", formats=wrong)


def test_a_format_that_would_hold_nothing_is_refused(result, tmp_path: Path) -> None:
    semantic = dataclasses.replace(result, panoptic=None, instances=None)
    with pytest.raises(
        ValueError, match="format coco is of the tasks instance and object and panoptic and"
    ):
        semantic.save(tmp_path, formats=["overlay", "coco"])
    instance = dataclasses.replace(result, panoptic=None, semantic=None)
    with pytest.raises(ValueError, match="would hold nothing of instance"):
        instance.save(tmp_path, formats="labelmap")
    assert not list(tmp_path.iterdir())
    label_map = {"semantic", "semantic_colors", "semantic_json"}
    assert set(semantic.save(tmp_path)) == {"semantic_overlay", *label_map}


def test_a_result_is_short_in_a_console(result) -> None:
    height, width = result.image.shape[:2]
    classes = len(result.vocabulary)
    expected = f"{width}x{height} pixels, panoptic, instance, semantic, {classes} classes"
    assert repr(result) == f"Segmentation({expected})"

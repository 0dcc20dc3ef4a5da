"""Rows, segments and thumbnails of a photo that is labelled, against hand-made ones."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from freeseg.data.photos import name_under
from freeseg.labelling import LabelRecords
from freeseg.labelling.records import panoptic_of
from freeseg.structures import Vocabulary
from freeseg.visualization import Instances, Segmentation

HEIGHT, WIDTH = 6, 8
VOCABULARY = Vocabulary(("cup", "sky", "ball"), (True, False, True))


def block(top, bottom, left, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


MASKS = (
    block(0, 4, 0, 4),  # 16 pixels, score 0.5
    block(0, 4, 2, 6),  # 16 pixels, the likeliest: takes 8 of the first, which keeps its half
    block(0, 4, 3, 7),  # 16 pixels, of which 12 are taken: too little is visible
    block(4, 6, 0, 8),  # of a class that is no thing
    block(5, 6, 7, 8),  # one pixel, below the least score
    block(0, 0, 0, 0),  # nothing
)
LABELS, SCORES = (0, 2, 2, 1, 0, 0), (0.5, 0.9, 0.4, 0.95, 0.1, 0.99)


def result_of(masks=MASKS):
    boxes = np.array([[1, 1, 4, 3]] * len(LABELS), np.float32)
    names = tuple(VOCABULARY.names[label] for label in LABELS)
    found = Instances(
        None if masks is None else np.stack(masks),
        boxes,
        np.array(LABELS),
        names,
        np.array(SCORES, np.float32),
    )
    photo = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    return Segmentation(photo, VOCABULARY, (7, 8, 9), instances=found)


def records_of(tmp_path, **fields):
    settings = {"dataset": tmp_path / "set", "image_root": tmp_path / "photos", "min_score": 0.3}
    return LabelRecords(**{**settings, **fields})


def test_segments_are_the_likeliest_masks_of_which_half_is_visible():
    ids, segments = panoptic_of(result_of(), 0.3)
    expected = np.where(MASKS[1], 1, np.where(MASKS[0], 2, 0))
    assert (ids == expected).all()
    assert [(each.id, each.label, each.name, each.area) for each in segments] == [
        (1, 2, "ball", 16),
        (2, 0, "cup", 8),
    ]
    assert [each.score for each in segments] == pytest.approx([0.9, 0.5])


def test_boxes_make_no_segments(tmp_path):
    with pytest.raises(ValueError, match="boxes without masks"):
        panoptic_of(result_of(masks=None), 0.3)
    record = records_of(tmp_path).record_of(result_of(masks=None), "1", str(tmp_path / "a.png"))
    assert [row["bbox"] for row in record["instances"]] == [[1, 1, 3, 2]] * 4
    assert not any("segmentation" in row for row in record["instances"])


def test_rows_are_of_likely_things_with_pixels(tmp_path):
    photo = tmp_path / "photos" / "street" / "a.jpg"
    record = records_of(tmp_path, panoptic=True).record_of(result_of(), "1", str(photo))
    assert record["image"] == {"id": None, "file_name": "street/a.jpg", "height": 6, "width": 8}
    rows = record["instances"]
    assert [(row["category_id"], row["score"]) for row in rows] == [(7, 0.5), (9, 0.9), (9, 0.4)]
    for row, mask in zip(rows, MASKS):
        assert (rle_codec.decode(row["segmentation"]) == mask).all()
        assert row["area"] == mask.sum()
    assert [(row["id"], row["category_id"], row["area"]) for row in record["segments"]] == [
        (1, 9, 16),
        (2, 7, 8),
    ]
    png = np.array(Image.open(tmp_path / "set/annotations_panoptic/street/a.jpg.png"))
    assert (png[..., 0] == panoptic_of(result_of(), 0.3).segment_ids).all()
    assert not png[..., 1:].any()
    json.dumps(record)


def test_thumbnails_are_small_and_show_what_was_found(tmp_path):
    factor, found = 160, result_of().instances
    mask = np.kron(MASKS[0], np.ones((factor, factor), bool))
    large = Segmentation(
        np.full((HEIGHT * factor, WIDTH * factor, 3), 90, np.uint8),
        VOCABULARY,
        (7, 8, 9),
        instances=Instances(mask[None], found.boxes[:1], found.labels[:1], ("cup",), np.ones(1)),
    )
    records_of(tmp_path).record_of(large, "1", str(tmp_path / "photos/b.png"))
    content = (tmp_path / "set/thumbnails/b.png.jpg").read_bytes()
    picture = np.array(Image.open(io.BytesIO(content))).astype(int)
    assert picture.shape == (240, 320, 3)
    inside, outside = picture[10:150, 10:150], picture[:, 180:]
    assert (abs(inside - 90).max(axis=2) > 30).mean() > 0.9  # the rest is its name
    assert abs(outside - 90).max() < 10


def test_photos_elsewhere_keep_their_whole_path(tmp_path):
    records = records_of(tmp_path)
    assert name_under(tmp_path / "photos", str(tmp_path / "photos/x/../y.png")) == "y.png"
    assert name_under(tmp_path / "photos", "/elsewhere/y.png") == "/elsewhere/y.png"
    records.record_of(result_of(), "1", "/elsewhere/y.png")
    assert (tmp_path / "set/thumbnails/elsewhere/y.png.jpg").is_file()

"""Whole records, against rows written by hand and what COCO's own tools read in them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from panopticapi.utils import rgb2id
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO

from freeseg.bulk.records import record_of
from freeseg.structures import Vocabulary
from freeseg.visualization import Segmentation
from freeseg.visualization.photo_result import Instances, NamedSegment, PanopticSegments

HEIGHT, WIDTH = 5, 9
NAMES, THINGS, IDS = ("sky", "ball", "field", "cup"), (False, True, False, True), (70, 5, 90, 33)
# the row's number, its columns: (top, bottom, left, right)
BOXES = {0: (0, 2, 0, 9), 1: (2, 3, 1, 5), 2: (3, 5, 0, 9), 3: (2, 4, 7, 8)}


def regions() -> np.ndarray:
    """Classes of pixels; two cups and a ball over a sky and a field."""
    labels = np.full((HEIGHT, WIDTH), 2)
    for label in (0, 2, 1, 3):
        top, bottom, left, right = BOXES[label]
        labels[top:bottom, left:right] = label
    labels[4, 2] = 3  # the second cup
    return labels


def mask_of(*points: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for row, column in points:
        mask[row, column] = True
    return mask


def plain_rle(mask: np.ndarray) -> dict:
    """Run lengths counted one by one, columns first, in pycocotools' letters."""
    runs, value, length = [], False, 0
    for pixel in mask.T.ravel():
        if pixel != value:
            runs.append(length)
            value, length = pixel, 0
        length += 1
    code = rle_codec.frPyObjects({"size": list(mask.shape), "counts": [*runs, length]}, *mask.shape)
    return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}


@pytest.fixture
def result() -> Segmentation:
    labels = regions()
    ids = labels * 10 + 256
    ids[4, 2] = 900
    ids[0, 0] = 0  # nobody's
    segments = [
        NamedSegment(256, 0, "sky", False, None, 17),
        NamedSegment(266, 1, "ball", True, 0.75, 4),
        NamedSegment(276, 2, "field", False, 0.5, 20),
        NamedSegment(286, 3, "cup", True, 0.625, 2),
        NamedSegment(900, 3, "cup", True, 0.25, 1),
    ]
    found = Instances(
        np.stack([mask_of((2, 1), (2, 2), (3, 2)), mask_of((4, 8))]),
        np.array([[1, 2, 3, 4], [7.5, 3.5, 9, 5]], np.float32),
        np.array([1, 3]),
        ("ball", "cup"),
        np.array([0.875, 0.125], np.float32),
    )
    return Segmentation(
        image=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        vocabulary=Vocabulary(NAMES, THINGS),
        category_ids=IDS,
        semantic=labels,
        panoptic=PanopticSegments(ids.astype(np.int32), tuple(segments)),
        instances=found,
        file_name="of the disk.png",
    )


def row(label: int, mask: np.ndarray, **more: object) -> dict:
    rows, columns = np.nonzero(mask)
    left, top = int(columns.min()), int(rows.min())
    return {
        "image_id": "7-3",
        "category_id": IDS[label],
        "category": NAMES[label],
        "isthing": int(THINGS[label]),
        "area": len(rows),
        "bbox": [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1],
        "segmentation": plain_rle(mask),
        **more,
    }


def test_a_record_is_this_and_nothing_else(result):
    ids = result.panoptic.segment_ids
    scores = {256: None, 266: 0.75, 276: 0.5, 286: 0.625, 900: 0.25}
    labels = {256: 0, 266: 1, 276: 2, 286: 3, 900: 3}
    first, second = result.instances.masks
    expected = {
        "image": {"id": "7-3", "file_name": "a photo.jpg", "height": HEIGHT, "width": WIDTH},
        "instance": [
            {
                "image_id": "7-3",
                "category_id": 5,
                "bbox": [1.0, 2.0, 2.0, 2.0],
                "score": 0.875,
                "segmentation": plain_rle(first),
            },
            {
                "image_id": "7-3",
                "category_id": 33,
                "bbox": [7.5, 3.5, 1.5, 1.5],
                "score": 0.125,
                "segmentation": plain_rle(second),
            },
        ],
        "panoptic": [row(labels[i], ids == i, score=score) for i, score in scores.items()],
        "semantic": [row(label, result.semantic == label) for label in range(4)],
    }
    found = record_of(result, "7-3", "a photo.jpg")
    assert found == expected
    assert json.loads(json.dumps(found)) == expected


def test_tasks_that_were_not_asked_for_have_no_entry(result):
    fields = {**vars(result), "semantic": None, "panoptic": None, "instances": None}
    bare = {name: value for name, value in fields.items() if not name.startswith("_")}
    assert set(record_of(Segmentation(**bare), "1", "x")) == {"image"}
    semantic = {**bare, "semantic": result.semantic}
    assert set(record_of(Segmentation(**semantic), "1", "x")) == {"image", "semantic"}


@pytest.mark.parametrize("task", ["panoptic", "semantic"])
def test_cocos_tools_read_back_what_was_found(result, task, tmp_path):
    record = record_of(result, "7-3", "x.jpg")
    content = {
        "images": [record["image"]],
        "categories": [{"id": number, "name": name} for number, name in zip(IDS, NAMES)],
        "annotations": [
            {"id": number, "iscrowd": 0, **one} for number, one in enumerate(record[task], start=1)
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    coco = COCO(str(tmp_path / "coco.json"))
    map_of_ids = np.zeros((HEIGHT, WIDTH), np.int64)
    for number, one in coco.anns.items():
        mask = coco.annToMask(one).astype(bool)
        assert not (map_of_ids[mask] > 0).any()  # segments do not overlap
        map_of_ids[mask] = number
        assert one["area"] == rle_codec.area(one["segmentation"])
        assert one["bbox"] == rle_codec.toBbox(one["segmentation"]).tolist()
        assert coco.loadCats(one["category_id"])[0]["name"] == one["category"]
    if task == "semantic":
        named = {number: one["category"] for number, one in coco.anns.items()}
        read = [[NAMES.index(named[number]) for number in line] for line in map_of_ids.tolist()]
        np.testing.assert_array_equal(read, result.semantic)
        return
    # the colours of COCO's panoptic pictures, and the segments' order, name the same regions
    ids = result.panoptic.segment_ids
    colors = np.stack([ids % 256, ids // 256, np.zeros_like(ids)], axis=-1)
    numbers = {segment.id: n for n, segment in enumerate(result.panoptic.segments, start=1)}
    expected = [[numbers.get(one, 0) for one in line] for line in rgb2id(colors).tolist()]
    np.testing.assert_array_equal(map_of_ids, expected)

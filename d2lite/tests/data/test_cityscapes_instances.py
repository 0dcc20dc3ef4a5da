"""Cityscapes' objects from id images and from polygons."""

from __future__ import annotations

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from detectron2.data.datasets.cityscapes import load_cityscapes_instances
from detectron2.structures import BoxMode, polygons_to_bitmask

PERSON, CAR = 0, 2  # contiguous ids


def rectangle(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


@pytest.fixture
def folders(tmp_path):
    """One image: two cars, the second of which a person covers partly, and a crowd."""
    images, labels = tmp_path / "leftImg8bit/ulm", tmp_path / "gtFine/ulm"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    (images / "ulm_0_1_leftImg8bit.png").touch()
    stem = str(labels / "ulm_0_1_gtFine_")
    ids = np.full((60, 80), 7, dtype=np.uint16)
    ids[10:30, 5:20] = 26000
    ids[20:40, 30:60] = 26001
    ids[15:50, 40:50] = 24000
    ids[50:58, 60:75] = 24  # a group of persons
    ids[2:8, 2:8] = 29000  # a caravan, which is not evaluated
    Image.fromarray(ids).save(stem + "instanceIds.png")
    Image.fromarray((ids % 256).astype(np.uint8)).save(stem + "labelIds.png")
    objects = [
        {"label": "road", "polygon": rectangle(0, 0, 79, 59)},
        {"label": "car", "polygon": rectangle(5, 10, 19, 29)},
        {"label": "car", "polygon": rectangle(30, 20, 59, 39)},
        {"label": "person", "polygon": rectangle(40, 15, 49, 49)},
        {"label": "persongroup", "polygon": rectangle(60, 50, 74, 57)},
        {"label": "caravan", "polygon": rectangle(2, 2, 7, 7)},
        {"label": "car", "polygon": rectangle(0, 50, 9, 59), "deleted": 1},
        {"label": "license plate", "polygon": rectangle(6, 25, 9, 27)},
    ]
    content = {"imgHeight": 60, "imgWidth": 80, "objects": objects}
    (labels / "ulm_0_1_gtFine_polygons.json").write_text(json.dumps(content))
    return str(tmp_path / "leftImg8bit"), str(tmp_path / "gtFine"), ids


def load(folders, **options):
    try:
        (image,) = load_cityscapes_instances(*folders[:2], **options)
    except ImportError as error:
        pytest.skip(f"the loader needs a package that is absent: {error}")
    assert (image["height"], image["width"]) == (60, 80)
    assert image["image_id"] == "ulm_0_1_leftImg8bit.png"
    return sorted(image["annotations"], key=lambda obj: (obj["category_id"], obj["bbox"][0]))


def test_masks_of_an_id_image_are_exact(folders):
    objects = load(folders, from_json=False, to_polygons=False)
    assert [obj["category_id"] for obj in objects] == [PERSON, PERSON, CAR, CAR]
    assert [bool(obj["iscrowd"]) for obj in objects] == [False, True, False, False]
    for obj, value in zip(objects, (24000, 24, 26000, 26001)):
        assert np.array_equal(mask_util.decode(obj["segmentation"]), folders[2] == value)
        assert obj["bbox_mode"] == BoxMode.XYXY_ABS
    assert [int(number) for number in objects[2]["bbox"]] == [5, 10, 19, 29]


@pytest.mark.parametrize("from_json", [True, False])
def test_polygons_cover_the_objects(folders, from_json):
    if from_json:
        pytest.importorskip("shapely")
    objects = load(folders, from_json=from_json)
    assert [obj["category_id"] for obj in objects] == [PERSON, PERSON, CAR, CAR]
    assert [bool(obj["iscrowd"]) for obj in objects] == [False, True, False, False]
    for obj, value in zip(objects, (24000, 24, 26000, 26001)):
        mask = polygons_to_bitmask([np.array(p, dtype=float) for p in obj["segmentation"]], 60, 80)
        expected = folders[2] == value
        overlap = (mask & expected).sum() / (mask | expected).sum()
        assert overlap > (0.95 if from_json else 0.8)  # outlines go through pixel corners


def test_polygons_cannot_become_masks(folders):
    with pytest.raises(AssertionError):
        load_cityscapes_instances(*folders[:2], from_json=True, to_polygons=False)

"""What is written in COCO form is what COCO's own readers find in it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from panopticapi.utils import rgb2id
from PIL import Image
from pycocotools.coco import COCO

from freeseg.data.categories import Category
from freeseg.data.coco_writer import CocoWriter, encode_rle, write_png
from freeseg.data.derived_instances import instances_from_panoptic
from freeseg.data.panoptic import id2rgb

SIZES = ((11, 7), (5, 13))  # height, width: no side twice
CATEGORIES = [
    {"id": 17, "name": "kite", "isthing": 1, "color": [9, 8, 7]},
    {"id": 5, "name": "sky", "isthing": 0, "color": [1, 2, 3]},
    {"id": 400, "name": "cat", "isthing": 1, "color": [4, 5, 6]},
]
SEGMENTS = (
    [
        {"id": 300, "category_id": 5, "iscrowd": 0},
        {"id": 70001, "category_id": 17, "iscrowd": 0},
        {"id": 2, "category_id": 400, "iscrowd": 1},
    ],
    [{"id": 9, "category_id": 400, "iscrowd": 0}, {"id": 256, "category_id": 17, "iscrowd": 0}],
)
INFO = {"year": 2011, "version": "3"}


def id_map(number: int) -> np.ndarray:
    """Segments of ragged shape, so that no area is that of a box."""
    draw = np.random.default_rng(number)
    ids = [segment["id"] for segment in SEGMENTS[number]]
    found = draw.choice([0, *ids], SIZES[number]).astype(np.int32)
    found[0], found[:, -1] = 0, 0  # no box is the whole picture's
    found[1, 0] = ids[0]
    return found


def measured(mask: np.ndarray) -> tuple[int, list[int]]:
    rows, columns = np.nonzero(mask)
    left, top = columns.min(), rows.min()
    return len(rows), [left, top, columns.max() + 1 - left, rows.max() + 1 - top]


@pytest.fixture
def written(tmp_path):
    writer = CocoWriter(tmp_path, "val", CATEGORIES, INFO)
    for number in range(2):
        labels = np.full(SIZES[number], 40 + number, np.uint8)
        name = f"sub/photo.{number}.jpg"
        writer.add(name, id_map(number), SEGMENTS[number], labels, caption=f"it is {number}")
    return SimpleNamespace(root=tmp_path, files=writer.save())


def test_the_panoptic_json_is_what_was_added(written):
    path, _ = written.files
    assert path == written.root / "panoptic_val.json"
    annotations = []
    for number in range(2):
        rows = []
        for segment in SEGMENTS[number]:
            area, box = measured(id_map(number) == segment["id"])
            rows.append({**segment, "area": area, "bbox": box})
        row = {"image_id": number + 1, "file_name": f"photo.{number}.png", "segments_info": rows}
        annotations.append(row)
    assert json.loads(path.read_text()) == {
        "info": INFO,
        "images": [
            {
                "id": number + 1,
                "file_name": f"sub/photo.{number}.jpg",
                "height": SIZES[number][0],
                "width": SIZES[number][1],
                "caption": f"it is {number}",
            }
            for number in range(2)
        ],
        "annotations": annotations,
        "categories": CATEGORIES,
    }


def test_the_pngs_are_those_of_panopticapi_and_of_classes(written):
    for number in range(2):
        with Image.open(written.root / f"panoptic_val/photo.{number}.png") as image:
            np.testing.assert_array_equal(rgb2id(np.array(image)), id_map(number))
        with Image.open(written.root / f"sem_seg_val/photo.{number}.png") as image:
            assert image.size == SIZES[number][::-1]
            assert set(np.asarray(image).ravel().tolist()) == {40 + number}


def check_instances(coco: COCO, expected: list[tuple]) -> None:
    """Each row is (image, category, crowd, mask), in the order of annotation ids from 1."""
    assert sorted(coco.anns) == list(range(1, len(expected) + 1))
    for number, (image_id, category_id, is_crowd, mask) in enumerate(expected, 1):
        row = coco.anns[number]
        np.testing.assert_array_equal(coco.annToMask(row).astype(bool), mask)
        area, box = measured(mask)
        rest = {key: value for key, value in row.items() if key != "segmentation"}
        assert rest == {
            "id": number,
            "image_id": image_id,
            "category_id": category_id,
            "iscrowd": is_crowd,
            "area": area,
            "bbox": box,
        }


def things(of_category: dict[int, int], image_ids: tuple[int, int]) -> list[tuple]:
    return [
        (image_id, of_category[row["category_id"]], row["iscrowd"], id_map(number) == row["id"])
        for number, image_id in enumerate(image_ids)
        for row in SEGMENTS[number]
        if row["category_id"] in of_category
    ]


def test_the_instance_json_is_read_by_cocos_library(written, capsys):
    _, path = written.files
    assert path == written.root / "instances_val.json"
    coco = COCO(str(path))
    check_instances(coco, things({17: 17, 400: 400}, (1, 2)))
    assert coco.dataset["categories"] == [CATEGORIES[0], CATEGORIES[2]]
    assert coco.dataset["images"] == json.loads(written.files[0].read_text())["images"]
    assert coco.dataset["info"] == INFO


def test_instances_of_panoptic_records_have_the_datasets_own_ids(tmp_path, capsys):
    """Class numbers 0, 1, 2 are the categories 17, 5 and 400, of which 5 is stuff."""
    class_of = {17: 0, 5: 1, 400: 2}
    records = []
    for number in range(2):
        path = tmp_path / f"{number}.png"
        Image.fromarray(id2rgb(id_map(number))).save(path)
        rows = [{**row, "category_id": class_of[row["category_id"]]} for row in SEGMENTS[number]]
        absent = {"id": 12345, "category_id": 0, "iscrowd": 0}
        records.append(
            {
                "file_name": f"/photos/{number}.JPG",
                "image_id": 30 - number,
                "pan_seg_file_name": str(path),
                "segments_info": [absent, *rows],
            }
        )
    listed = ((17, "kite", True), (3, "sky", False), (400, "cat", True))
    table = [Category(*row, (0, 0, 0)) for row in listed]
    coco = COCO()
    coco.dataset = instances_from_panoptic(iter(records), table)
    coco.createIndex()
    check_instances(coco, things({17: 17, 400: 400}, (30, 29)))
    assert coco.dataset["categories"] == [{"id": 17, "name": "kite"}, {"id": 400, "name": "cat"}]
    assert coco.dataset["images"] == [
        {"id": 30 - number, "file_name": f"{number}.JPG", "height": height, "width": width}
        for number, (height, width) in enumerate(SIZES)
    ]


def test_a_run_length_code_can_be_held_by_json():
    mask = np.random.default_rng(0).random((9, 4)) < 0.5
    code = json.loads(json.dumps(encode_rle(mask)))
    assert code["size"] == [9, 4]
    coco = COCO()
    coco.imgs = {1: {"height": 9, "width": 4}}
    found = coco.annToMask({"image_id": 1, "segmentation": code})
    np.testing.assert_array_equal(found.astype(bool), mask)


def test_a_png_has_the_channels_of_opencv_or_is_an_error(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    write_png(tmp_path / "bgr.png", pixels)
    with Image.open(tmp_path / "bgr.png") as image:
        np.testing.assert_array_equal(np.array(image)[..., ::-1], pixels)
    for other in (np.zeros((4, 6, 2), np.uint8), np.full((4, 6), 300, np.int64), np.zeros((4, 6))):
        message = rf"encode .*bgr\.png from an array of {other.dtype} \(4, 6"
        with pytest.raises(OSError, match=message):
            write_png(tmp_path / "bgr.png", other)
    with Image.open(tmp_path / "bgr.png") as image:
        np.testing.assert_array_equal(np.array(image)[..., ::-1], pixels)


def test_class_maps_beyond_bytes_are_written_whole(tmp_path):
    labels = np.array([[0, 255, 256], [300, 65535, 7]], np.uint16)
    root = tmp_path / "not" / "there"
    for _ in range(2):  # the folders are made, or are there
        writer = CocoWriter(root, "val", CATEGORIES, INFO)
    writer.add("a.jpg", np.zeros((2, 3), np.int32), [], labels)
    with Image.open(root / "sem_seg_val" / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), labels)

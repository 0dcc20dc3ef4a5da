"""Loose annotation files against pycocotools on the same files written properly."""

from __future__ import annotations

import copy
import json
import logging

import numpy as np
import pytest
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detectron2.evaluation._coco_truth import load_truth

HEIGHT, WIDTH = 90, 120


def whole_file(seed=0):
    """Three images of eight objects of two categories; every third mask is of runs."""
    random = np.random.default_rng(seed)
    rows = []
    for image_id in (4, 5, 9):
        for _ in range(8):
            x, y, w, h = random.integers(3, 50, 4).tolist()
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
            runs = codec.merge(codec.frPyObjects([polygon], HEIGHT, WIDTH))
            mask = [polygon]
            if len(rows) % 3 == 0:
                mask = {"size": [HEIGHT, WIDTH], "counts": runs["counts"].decode()}
            elif len(rows) % 3 == 1:
                flat = codec.decode(runs).ravel(order="F")
                bounds = np.flatnonzero(np.diff(flat)) + 1
                counts = np.diff([0, *bounds, flat.size]).tolist()
                mask = {"size": [HEIGHT, WIDTH], "counts": counts if not flat[0] else [0, *counts]}
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image_id,
                    "category_id": int(random.choice([3, 8])),
                    "segmentation": mask,
                    "area": float(codec.area(runs)),
                    "bbox": codec.toBbox(runs).tolist(),
                    "iscrowd": 0,
                }
            )
    sizes = {"height": HEIGHT, "width": WIDTH}
    return {
        "info": {},
        "images": [{"id": each, **sizes} for each in (4, 5, 9)],
        "annotations": rows,
        "categories": [{"id": 3, "name": "pear"}, {"id": 8, "name": "quince"}],
    }


def detections(content, seed=1):
    """The objects of a file, moved by a few pixels."""
    random = np.random.default_rng(seed)
    found = []
    for row in content["annotations"]:
        x, y, w, h = row["bbox"]
        x, y = x + random.integers(-3, 4), y + random.integers(-3, 4)
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        runs = codec.merge(codec.frPyObjects([polygon], HEIGHT, WIDTH))
        keys = {key: row[key] for key in ("image_id", "category_id")}
        found.append({**keys, "segmentation": runs, "score": float(random.random())})
    return found


def statistics(truth, found):
    judge = COCOeval(truth, truth.loadRes(copy.deepcopy(found)), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return judge.stats


@pytest.fixture
def write(tmp_path):
    def to_file(content):
        path = tmp_path / "truth.json"
        path.write_text(json.dumps(content))
        return str(path)

    return to_file


def test_good_files_are_what_pycocotools_reads(write, caplog):
    path = write(whole_file())
    with caplog.at_level(logging.WARNING):
        ours = load_truth(path)
    plain = COCO(path)
    for name in ("dataset", "anns", "cats", "imgs", "imgToAnns", "catToImgs"):
        assert getattr(ours, name) == getattr(plain, name), name
    assert not caplog.records


LOOSE = {
    "ids from 0": (lambda row, n: row.update(id=n), "24 ids of annotations"),
    "no ids": (lambda row, n: row.pop("id"), "24 ids of annotations"),
    "texts as ids": (lambda row, n: row.update(id=str(n)), "24 ids of annotations"),
    "an id twice": (lambda row, n: row.update(id=1 + n // 2), "24 ids of annotations"),
    "negative ids": (lambda row, n: row.update(id=-1 - n), "24 ids of annotations"),
    "no crowd flags": (lambda row, n: row.pop("iscrowd"), ""),
    "no areas": (lambda row, n: row.pop("area"), "24 areas"),
    "areas of one winding": (
        lambda row, n: row.update(area=row["area"] * (1, -1)[n % 2]),
        "12 areas",
    ),
    "areas of nothing": (lambda row, n: row.update(area=float("nan")), "24 areas"),
    "no boxes": (lambda row, n: row.pop("bbox"), "24 boxes"),
    "all of it": (
        lambda row, n: [row.pop(key) for key in ("id", "area", "bbox", "iscrowd")],
        "24 ids of annotations, 24 areas, 24 boxes",
    ),
}


@pytest.mark.parametrize(("change", "said"), LOOSE.values(), ids=LOOSE)
def test_loose_files_count_as_the_ones_they_stand_for(write, caplog, change, said):
    content = whole_file()
    found = detections(content)
    expected = statistics(COCO(write(content)), found)
    for number, row in enumerate(content["annotations"]):
        change(row, number)
    path = write(content)
    with caplog.at_level(logging.WARNING):
        truth = load_truth(path)
    assert statistics(truth, found) == pytest.approx(expected)
    assert 0.2 < expected[0] < 0.95
    assert [record.message for record in caplog.records] == (
        [f"{path}: mended for COCOeval: {said}"] if said else []
    )


def test_pycocotools_itself_counts_ids_from_0_wrongly(write):
    """What is mended here is a fault: the object 0 is never found."""
    content = whole_file()
    found = detections(content)
    expected = statistics(COCO(write(content)), found)
    for number, row in enumerate(content["annotations"]):
        row["id"] = number
    assert statistics(COCO(write(content)), found)[0] < expected[0] - 0.01


def test_an_object_of_keypoints_alone_has_the_area_of_its_box(write):
    content = whole_file()
    row = {"id": 99, "image_id": 4, "category_id": 3, "bbox": [1, 2, 10, 5], "iscrowd": 0}
    content["annotations"].append({**row, "keypoints": [4, 4, 2], "num_keypoints": 1})
    assert load_truth(write(content)).anns[99]["area"] == 50


def test_what_has_neither_mask_nor_box_has_no_area(write):
    content = whole_file()
    content["annotations"][0] = {"id": 1, "image_id": 4, "category_id": 3, "segmentation": [[3, 3]]}
    row = load_truth(write(content)).anns[1]
    assert (row["area"], row["bbox"], row["iscrowd"]) == (0, [0, 0, 0, 0], 0)


def test_a_test_set_without_annotations_stays_one(write):
    content = whole_file()
    del content["annotations"]
    assert "annotations" not in load_truth(write(content)).dataset

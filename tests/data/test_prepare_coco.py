"""COCO's preparations on a miniature tree in the official layout, through to the records."""

from __future__ import annotations

import json

import numpy as np
import pycocotools.mask
import pytest
from PIL import Image

from freeseg.catalog import dataset_metadata, kept
from freeseg.data.categories import load_categories
from freeseg.data.panoptic import id2rgb, rgb2id
from freeseg.data.prepare import coco
from freeseg.data.prepare.job import Job, MissingFilesError
from freeseg.data.prepare.labels import read_labels

PHOTO = np.zeros((20, 30, 3))


@pytest.fixture
def coco_tree(root, write_image):
    folder = root / "coco"
    ids = np.full((20, 30), 70000, dtype=np.int32)
    ids[:10], ids[10:12] = 5, 0
    for split in ("train2017", "val2017"):
        write_image(folder / split / "000000000001.jpg", PHOTO)
        write_image(folder / f"panoptic_{split}" / "000000000001.png", id2rgb(ids))
        stuff = np.full((20, 30), 255)
        stuff[:5], stuff[5:9] = 0, 181
        write_image(folder / "stuffthingmaps" / split / "000000000001.png", stuff)
        segments = [
            {"id": 5, "category_id": 90, "iscrowd": 0, "area": 300, "bbox": [0, 0, 30, 10]},
            {"id": 70000, "category_id": 200, "iscrowd": 1, "area": 240, "bbox": [0, 12, 30, 8]},
        ]
        content = {
            "images": [
                {"id": 1, "file_name": "000000000001.jpg", "height": 20, "width": 30},
            ],
            "annotations": [
                {"image_id": 1, "file_name": "000000000001.png", "segments_info": segments}
            ],
            "categories": [row.to_json() for row in load_categories("coco_panoptic")],
        }
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_coco_panoptic_becomes_semantic(coco_tree, workers):
    coco.prepare_panoptic_semantic(Job(coco_tree, coco_tree, workers))
    (record,) = kept("coco_2017_val_panoptic_with_sem_seg").load()
    labels = read_labels(record["sem_seg_file_name"])
    names = dataset_metadata("coco_2017_val_panoptic_with_sem_seg").stuff_classes
    assert names[labels[0, 0]] == "toothbrush"
    assert names[labels[15, 0]] == "rug-merged", "a crowd has its class"
    assert (labels[10:12] == 255).all()


def test_a_changed_annotation_is_converted_again(coco_tree):
    job = Job(coco_tree, coco_tree)
    coco.prepare_panoptic_semantic(job)
    output = coco_tree / "panoptic_semseg_val2017" / "000000000001.png"
    stamp = output.stat().st_mtime_ns
    coco.prepare_panoptic_semantic(job)
    assert output.stat().st_mtime_ns == stamp, "a rerun skips what is done"
    json_file = coco_tree / "annotations" / "panoptic_val2017.json"
    json_file.write_text(json_file.read_text().replace('"category_id": 90', '"category_id": 1'))
    coco.prepare_panoptic_semantic(job)
    assert read_labels(output)[0, 0] == 0


def test_things_of_coco_panoptic_become_instances(coco_tree):
    job = Job(coco_tree, coco_tree, splits=("val",))
    coco.prepare_panoptic_instances(job)
    (record,) = kept("coco_2017_val_panoptic2instance").load()
    (panoptic,) = kept("coco_2017_val_panoptic").load()
    ids = rgb2id(np.asarray(Image.open(panoptic["pan_seg_file_name"])))
    things = [row for row in panoptic["segments_info"] if row["isthing"]]
    assert things
    assert [row["category_id"] for row in record["annotations"]] == [
        row["category_id"] for row in things
    ]
    for found, wanted in zip(record["annotations"], things):
        mask = pycocotools.mask.decode(found["segmentation"])
        assert np.array_equal(mask == 1, ids == wanted["id"])


def test_coco_stuff_gets_contiguous_classes(coco_tree):
    coco.prepare_stuff(Job(coco_tree, coco_tree))
    (record,) = kept("coco_2017_val_stuff_sem_seg").load()
    labels = read_labels(record["sem_seg_file_name"])
    names = dataset_metadata("coco_2017_val_stuff_sem_seg").stuff_classes
    assert [names[labels[0, 0]], names[labels[5, 0]]] == ["person", "wood"]
    assert (labels[9:] == 255).all()


def test_one_split_of_coco_is_enough(coco_tree):
    (coco_tree / "annotations" / "panoptic_train2017.json").unlink()
    with pytest.raises(MissingFilesError, match=r"panoptic_train2017\.json"):
        coco.prepare_panoptic_semantic(Job(coco_tree, coco_tree))
    coco.prepare_panoptic_semantic(Job(coco_tree, coco_tree, splits=["val"]))
    assert (coco_tree / "panoptic_semseg_val2017" / "000000000001.png").is_file()

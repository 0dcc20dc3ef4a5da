"""Loaders of dataset formats, on small made-up files and on the real samples."""

from __future__ import annotations

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import (
    convert_to_coco_json,
    load_coco_json,
    load_sem_seg,
    load_voc_instances,
    register_coco_instances,
    register_coco_panoptic,
    register_coco_panoptic_separated,
    register_pascal_voc,
)
from detectron2.data.datasets.builtin_meta import _get_builtin_metadata
from detectron2.data.datasets.cityscapes import load_cityscapes_semantic
from detectron2.data.datasets.cityscapes_panoptic import load_cityscapes_panoptic
from detectron2.data.datasets.coco import convert_to_coco_dict
from detectron2.data.datasets.coco_panoptic import merge_to_panoptic
from detectron2.structures import BoxMode

TRIANGLE = [1.0, 1.0, 9.0, 1.0, 1.0, 7.0]


def coco_json(path, annotations, categories=((5, "dog"), (2, "cat"))):
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 10, "width": 20} for i in (9, 4)],
        "categories": [{"id": i, "name": name} for i, name in categories],
        "annotations": [
            {"id": i + 1, "image_id": 9, "bbox": [1, 1, 8, 6], "category_id": 5, **annotation}
            for i, annotation in enumerate(annotations)
        ],
    }
    path.write_text(json.dumps(content))
    return str(path)


def test_coco_ids_become_contiguous_in_their_order(no_catalogs, tmp_path):
    path = coco_json(tmp_path / "a.json", [{"segmentation": [TRIANGLE], "iscrowd": 0}])
    first, second = load_coco_json(path, "images", "mine")
    assert (first["image_id"], second["image_id"]) == (4, 9)
    assert second["file_name"] == "images/9.jpg"
    assert (second["height"], second["width"]) == (10, 20)
    assert first["annotations"] == []
    assert second["annotations"] == [
        {
            "iscrowd": 0,
            "bbox": [1, 1, 8, 6],
            "category_id": 1,
            "segmentation": [TRIANGLE],
            "bbox_mode": BoxMode.XYWH_ABS,
        }
    ]
    metadata = MetadataCatalog.get("mine")
    assert metadata.thing_classes == ["cat", "dog"]
    assert metadata.thing_dataset_id_to_contiguous_id == {2: 0, 5: 1}


def test_coco_without_a_name_keeps_ids(no_catalogs, tmp_path):
    path = coco_json(tmp_path / "a.json", [{"score": 0.5}])
    _, image = load_coco_json(path, "", extra_annotation_keys=["score"])
    assert image["annotations"][0]["category_id"] == 5
    assert image["annotations"][0]["score"] == 0.5
    assert MetadataCatalog.list() == []


def test_coco_segmentations_and_keypoints(no_catalogs, tmp_path):
    line = [1.0, 1.0, 2.0, 2.0]
    rle = {"counts": [3, 4, 193], "size": [10, 20]}
    annotations = [
        {"segmentation": [line, TRIANGLE]},
        {"segmentation": [line]},
        {"segmentation": rle},
        {"keypoints": [3, 4, 2, 0, 0, 0]},
    ]
    path = coco_json(tmp_path / "a.json", annotations)
    polygon, compressed, keypoints = load_coco_json(path, "", "mine")[1]["annotations"]
    assert polygon["segmentation"] == [TRIANGLE]
    mask = mask_util.decode(compressed["segmentation"])
    assert mask.sum() == 4
    assert mask[3:7, 0].all()
    # Pixel indices become coordinates of their centres.
    assert keypoints["keypoints"] == [3.5, 4.5, 2, 0.5, 0.5, 0]


@pytest.mark.parametrize(
    ("annotation", "error"),
    [
        ({"bbox": []}, ValueError),
        ({"category_id": 77}, KeyError),
        ({"ignore": 1}, AssertionError),
    ],
    ids=["no box", "no such category", "ignored"],
)
def test_what_is_wrong_in_coco_files(no_catalogs, tmp_path, annotation, error):
    path = coco_json(tmp_path / "a.json", [annotation])
    with pytest.raises(error):
        load_coco_json(path, "", "mine")


def test_coco_annotation_ids_are_unique_but_in_minival(no_catalogs, tmp_path):
    twice = [{"id": 1}, {"id": 1}]
    with pytest.raises(AssertionError, match="not unique"):
        load_coco_json(coco_json(tmp_path / "a.json", twice), "", "mine")
    minival = coco_json(tmp_path / "minival.json", twice)
    assert len(load_coco_json(minival, "", "mine")[1]["annotations"]) == 2


def test_fruits_load_as_written(catalogs, fruits):
    register_coco_instances(
        "fruits", {"color": "ripe"}, str(fruits / "trainval.json"), str(fruits / "images")
    )
    metadata = MetadataCatalog.get("fruits")
    assert metadata.color == "ripe"
    assert metadata.evaluator_type == "coco"
    images = DatasetCatalog.get("fruits")
    assert metadata.thing_classes == ["date", "fig", "hazelnut"]
    assert len(images) == 18
    assert sum(len(image["annotations"]) for image in images) == 165
    for image in images[:3]:
        assert Image.open(image["file_name"]).size == (image["width"], image["height"])
        for obj in image["annotations"]:
            points = np.concatenate(obj["segmentation"]).reshape(-1, 2)
            x, y, width, height = obj["bbox"]
            assert np.abs(points.min(0) - [x, y]).max() <= 1
            assert np.abs(points.max(0) - [x + width, y + height]).max() <= 1


def test_conversion_to_coco_and_back(catalogs, fruits, tmp_path):
    register_coco_instances("fruits", {}, str(fruits / "trainval.json"), str(fruits / "images"))
    images = DatasetCatalog.get("fruits")
    path = tmp_path / "new" / "fruits.json"
    convert_to_coco_json("fruits", str(path))
    again = load_coco_json(str(path), "", "fruits again")
    metadata = MetadataCatalog.get("fruits again")
    assert metadata.thing_classes == ["date", "fig", "hazelnut"]
    for image, reread in zip(images, again):
        assert image["image_id"] == reread["image_id"]
        for obj, same in zip(image["annotations"], reread["annotations"]):
            assert obj["segmentation"] == same["segmentation"]
            assert obj["category_id"] == same["category_id"]
            assert np.allclose(obj["bbox"], same["bbox"], atol=1e-3)
    path.write_text("{}")
    convert_to_coco_json("fruits", str(path))  # a file that is there is kept
    assert path.read_text() == "{}"
    convert_to_coco_json("fruits", str(path), allow_cached=False)
    assert path.stat().st_size > 1000


def test_areas_and_boxes_of_conversion(no_catalogs):
    mask = np.zeros((10, 20), dtype=np.uint8, order="F")
    mask[2:5, 3:7] = 1
    base = {"bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "bbox": [1, 2, 5, 8]}
    objects = [
        base,
        {**base, "segmentation": [[0, 0, 4, 0, 0, 4]]},
        {**base, "segmentation": mask_util.encode(mask), "iscrowd": 1},
        {**base, "bbox": np.array([5, 5, 4, 2, 30.0]), "bbox_mode": BoxMode.XYWHA_ABS},
        {**base, "keypoints": [1.5, 2.5, 2, 0.5, 0.5, 0]},
    ]
    image = {"file_name": "a.jpg", "width": 20, "height": 10, "annotations": objects}
    DatasetCatalog.register("mine", lambda: [image])
    MetadataCatalog.get("mine").set(
        thing_classes=["cat"], thing_dataset_id_to_contiguous_id={17: 0}
    )
    converted = convert_to_coco_dict("mine")
    json.dumps(converted)  # nothing in it is an array or bytes
    assert converted["categories"] == [{"id": 17, "name": "cat"}]
    annotations = converted["annotations"]
    assert [a["id"] for a in annotations] == [1, 2, 3, 4, 5]
    assert [a["category_id"] for a in annotations] == [17] * 5
    assert [a["area"] for a in annotations] == [24, 8, 12, 8, 24]
    assert [a["iscrowd"] for a in annotations] == [0, 0, 1, 0, 0]
    assert annotations[0]["bbox"] == [1, 2, 4, 6]
    assert annotations[3]["bbox"] == [5, 5, 4, 2, 30]
    assert annotations[4]["keypoints"] == [1, 2, 2, 0, 0, 0]
    assert annotations[4]["num_keypoints"] == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"bbox": np.zeros((1, 4))}, ValueError),
        ({"bbox": [1, 2, 3]}, ValueError),
        ({"segmentation": "0 1"}, TypeError),
    ],
)
def test_what_cannot_be_converted(no_catalogs, fields, error):
    obj = {"bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "bbox": [1, 2, 5, 8], **fields}
    image = {"file_name": "a.jpg", "width": 20, "height": 10, "annotations": [obj]}
    DatasetCatalog.register("mine", lambda: [image])
    MetadataCatalog.get("mine").thing_classes = ["cat"]
    with pytest.raises(error):
        convert_to_coco_dict("mine")


def test_registering_coco_instances_checks_types(no_catalogs):
    for arguments in ((1, {}, "a", "b"), ("mine", {}, None, "b"), ("mine", {}, "a", 2)):
        with pytest.raises(AssertionError):
            register_coco_instances(*arguments)


def test_panoptic_sample(catalogs, coco_sample):
    metadata = _get_builtin_metadata("coco_panoptic_standard")
    register_coco_panoptic(
        "sample",
        metadata,
        str(coco_sample / "input_images"),
        str(coco_sample / "panoptic_examples"),
        str(coco_sample / "panoptic_examples.json"),
    )
    assert MetadataCatalog.get("sample").label_divisor == 1000
    assert MetadataCatalog.get("sample").evaluator_type == "coco_panoptic_seg"
    content = json.loads((coco_sample / "panoptic_examples.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    things = {category["id"] for category in content["categories"] if category["isthing"]}
    images = DatasetCatalog.get("sample")
    assert [image["image_id"] for image in images] == [142238, 439180]
    for image, written in zip(images, content["annotations"]):
        png = np.asarray(Image.open(image["pan_seg_file_name"])).astype(int)
        ids = png[:, :, 0] + 256 * png[:, :, 1] + 65536 * png[:, :, 2]
        assert Image.open(image["file_name"]).size == ids.shape[::-1]
        assert len(image["segments_info"]) == len(written["segments_info"])
        for segment, original in zip(image["segments_info"], written["segments_info"]):
            assert segment["id"] == original["id"]
            assert (ids == segment["id"]).sum() == segment["area"]
            assert segment["isthing"] is (original["category_id"] in things)
            name = metadata["stuff_classes"][segment["category_id"]]
            assert name == names[original["category_id"]]


def test_panoptic_files_must_be_there(no_catalogs, tmp_path):
    annotation = {"file_name": "a.png", "image_id": "3", "segments_info": []}
    path = tmp_path / "panoptic.json"
    metadata = _get_builtin_metadata("coco_panoptic_standard")
    register_coco_panoptic("mine", metadata, str(tmp_path), str(tmp_path), str(path), None)
    path.write_text(json.dumps({"annotations": [annotation]}))
    with pytest.raises(AssertionError, match=r"a\.jpg"):
        DatasetCatalog.get("mine")
    path.write_text(json.dumps({"annotations": []}))
    with pytest.raises(AssertionError, match="No images"):
        DatasetCatalog.get("mine")


def test_separated_panoptic_joins_objects_and_labels(no_catalogs, tmp_path):
    for folder, ending in (("images", "jpg"), ("labels", "png")):
        (tmp_path / folder).mkdir()
        for i in (4, 9):
            (tmp_path / folder / f"{i}.{ending}").touch()
    path = coco_json(tmp_path / "a.json", [{}], _coco_categories())
    register_coco_panoptic_separated(
        "coco_mine",
        _get_builtin_metadata("coco_panoptic_separated"),
        str(tmp_path / "images"),
        "panoptic",
        "panoptic.json",
        str(tmp_path / "labels"),
        path,
    )
    assert DatasetCatalog.list() == ["coco_mine_separated", "coco_mine_stuffonly"]
    joined = DatasetCatalog.get("coco_mine_separated")
    assert [image["sem_seg_file_name"][-5:] for image in joined] == ["4.png", "9.png"]
    assert [len(image["annotations"]) for image in joined] == [0, 1]
    assert len(DatasetCatalog.get("coco_mine_stuffonly")) == 2
    with pytest.raises(AssertionError):
        merge_to_panoptic(joined, [])


def _coco_categories():
    metadata = _get_builtin_metadata("coco")
    return zip(metadata["thing_dataset_id_to_contiguous_id"], metadata["thing_classes"])


def test_label_images_are_paired_by_name(tmp_path):
    for name in ("b.jpg", "a.jpg", "c.jpg", "notes.txt"):
        (tmp_path / name).touch()
    labels = tmp_path / "labels"
    labels.mkdir()
    with pytest.raises(AssertionError, match="No annotations"):
        load_sem_seg(str(labels), str(tmp_path))
    for name in ("c.png", "a.png"):
        (labels / name).touch()
    pairs = load_sem_seg(str(labels), str(tmp_path))
    assert pairs == [
        {
            "file_name": str(tmp_path / f"{name}.jpg"),
            "sem_seg_file_name": str(labels / f"{name}.png"),
        }
        for name in "ac"
    ]
    (labels / "b.png").touch()
    assert [pair["file_name"][-5] for pair in load_sem_seg(str(labels), str(tmp_path))] == [*"abc"]


def test_voc_boxes_count_from_zero(no_catalogs, tmp_path):
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/val.txt").write_text("0001\n0002\n")
    box = "<bndbox><ymin>2</ymin><xmin>1</xmin><xmax>50</xmax><ymax>40</ymax></bndbox>"
    parts = f"<object><name>dog</name><difficult>1</difficult>{box}</object>"
    size = "<size><width>50</width><height>40</height><depth>3</depth></size>"
    (tmp_path / "Annotations/0001.xml").write_text(f"<annotation>{size}{parts}</annotation>")
    (tmp_path / "Annotations/0002.xml").write_text(f"<annotation>{size}</annotation>")
    register_pascal_voc("voc", str(tmp_path), "val", 2007)
    first, second = DatasetCatalog.get("voc")
    assert first["file_name"] == str(tmp_path / "JPEGImages/0001.jpg")
    assert (first["image_id"], first["height"], first["width"]) == ("0001", 40, 50)
    assert first["annotations"] == [
        {"category_id": 11, "bbox": [0, 1, 50, 40], "bbox_mode": BoxMode.XYXY_ABS}
    ]
    assert MetadataCatalog.get("voc").thing_classes[11] == "dog"
    assert second["annotations"] == []
    with pytest.raises(ValueError, match=r"tuple|list"):
        load_voc_instances(str(tmp_path), "val", ["cat"])


@pytest.fixture
def cityscapes(tmp_path):
    """One image with a road and a car."""
    images, labels = tmp_path / "leftImg8bit/val/ulm", tmp_path / "gtFine/val/ulm"
    panoptic = tmp_path / "gtFine/cityscapes_panoptic_val"
    for folder in (images, labels, panoptic):
        folder.mkdir(parents=True)
    (images / "ulm_0_1_leftImg8bit.png").touch()
    for end in ("instanceIds", "labelIds", "labelTrainIds"):
        (labels / f"ulm_0_1_gtFine_{end}.png").touch()
    size = {"imgHeight": 10, "imgWidth": 20, "objects": []}
    (labels / "ulm_0_1_gtFine_polygons.json").write_text(json.dumps(size))
    (panoptic / "ulm_0_1_gtFine_panoptic.png").touch()
    segments = [{"id": 7, "category_id": 7, "area": 50}, {"id": 26001, "category_id": 26}]
    annotation = {
        "image_id": "ulm_0_1",
        "file_name": "ulm_0_1_gtFine_panoptic.png",
        "segments_info": segments,
    }
    panoptic.with_suffix(".json").write_text(json.dumps({"annotations": [annotation]}))
    return tmp_path


def test_cityscapes_panoptic(cityscapes):
    arguments = [
        str(cityscapes / "leftImg8bit/val"),
        str(cityscapes / "gtFine/cityscapes_panoptic_val"),
        str(cityscapes / "gtFine/cityscapes_panoptic_val.json"),
        MetadataCatalog.get("cityscapes_fine_panoptic_val").as_dict(),
    ]
    (image,) = load_cityscapes_panoptic(*arguments)
    assert image["image_id"] == "ulm_0_1"
    assert image["file_name"].endswith("leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png")
    assert image["sem_seg_file_name"].endswith("gtFine/val/ulm/ulm_0_1_gtFine_labelTrainIds.png")
    assert [segment["category_id"] for segment in image["segments_info"]] == [0, 13]
    (cityscapes / "gtFine/val/ulm/ulm_0_1_gtFine_labelTrainIds.png").unlink()
    with pytest.raises(AssertionError, match="createTrainIdLabelImgs"):
        load_cityscapes_panoptic(*arguments)
    (cityscapes / "leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png").unlink()
    with pytest.raises(AssertionError, match="No image ulm_0_1"):
        load_cityscapes_panoptic(*arguments)


def test_cityscapes_semantic(cityscapes):
    folders = str(cityscapes / "leftImg8bit/val"), str(cityscapes / "gtFine/val")
    (image,) = load_cityscapes_semantic(*folders)
    assert (image["height"], image["width"]) == (10, 20)
    assert image["sem_seg_file_name"].endswith("gtFine/val/ulm/ulm_0_1_gtFine_labelTrainIds.png")
    (cityscapes / "leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png").unlink()
    with pytest.raises(AssertionError, match="No images"):
        load_cityscapes_semantic(*folders)

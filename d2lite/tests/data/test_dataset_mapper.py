"""The default mapper."""

from __future__ import annotations

import copy

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from PIL import Image

from detectron2.config import get_cfg
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import BoxMode, PolygonMasks


@pytest.fixture
def sample(tmp_path):
    """An image whose red channel shows the object and whose labels are 3 there."""
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[10:30, 20:50, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "image.png")
    Image.fromarray((pixels[:, :, 0] // 85).astype(np.uint8)).save(tmp_path / "labels.png")
    square = [20.0, 10.0, 50.0, 10.0, 50.0, 30.0, 20.0, 30.0]
    obj = {
        "bbox": [20, 10, 50, 30],
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 1,
        "segmentation": [square],
        "keypoints": [25, 15, 2, 45, 25, 1],
    }
    return {
        "file_name": str(tmp_path / "image.png"),
        "sem_seg_file_name": str(tmp_path / "labels.png"),
        "image_id": 5,
        "height": 40,
        "width": 60,
        "annotations": [obj, {**obj, "iscrowd": 1}],
    }


def mapper(augmentations=(), is_train=True, **options):
    options = {"image_format": "RGB", **options}
    return DatasetMapper(is_train, augmentations=list(augmentations), **options)


def test_everything_is_mapped_in_training_and_the_source_stays(sample):
    before = copy.deepcopy(sample)
    resize = T.Resize((80, 90))
    output = mapper([resize], use_instance_mask=True, instance_mask_format="bitmask")(sample)
    assert sample == before
    assert output["image"].shape == (3, 80, 90)
    assert output["image"].dtype == torch.uint8
    assert output["sem_seg"].dtype == torch.int64
    assert (output["height"], output["width"], output["image_id"]) == (40, 60, 5)
    assert "annotations" not in output
    assert "sem_seg_file_name" not in output
    instances = output["instances"]
    assert len(instances) == 1  # the crowd is left out
    assert instances.gt_boxes.tensor.tolist() == [[30, 20, 75, 60]]
    assert torch.equal(instances.gt_masks.tensor[0], output["sem_seg"] == 3)
    assert not instances.has("gt_keypoints")


def test_inference_keeps_no_annotations(sample):
    output = mapper(is_train=False)(sample)
    assert set(output) == {"file_name", "image_id", "height", "width", "image", "sem_seg"}


def test_bgr_is_rgb_backwards(sample):
    rgb, bgr = (mapper(image_format=name)(sample)["image"] for name in ("RGB", "BGR"))
    assert torch.equal(rgb, bgr.flip(0))
    assert rgb[0].max() == 255
    assert rgb[1:].max() == 0


def test_masks_and_keypoints_are_kept_on_demand(sample):
    bare = mapper()(sample)["instances"]
    assert set(bare.get_fields()) == {"gt_boxes", "gt_classes"}
    polygons = mapper(use_instance_mask=True)(sample)["instances"]
    assert isinstance(polygons.gt_masks, PolygonMasks)
    flipped = mapper(
        [T.RandomFlip(prob=1.0)], use_keypoint=True, keypoint_hflip_indices=np.array([1, 0])
    )(sample)["instances"]
    assert flipped.gt_keypoints.tensor.tolist() == [[[15, 25, 1], [35, 15, 2]]]


def test_objects_cut_away_are_dropped(sample):
    away = mapper([T.CropTransform(0, 0, 15, 15)])(sample)
    assert len(away["instances"]) == 0
    with pytest.raises(AssertionError):
        mapper(recompute_boxes=True)


def test_boxes_are_recomputed_from_what_is_left_of_a_mask(sample):
    ys, xs = np.mgrid[:40, :60]
    triangle = (ys >= 10) & (ys < 30) & (xs >= 20) & (xs < 50 - 1.5 * (ys - 10))
    mask = np.asfortranarray(triangle, dtype=np.uint8)
    sample["annotations"][0]["segmentation"] = mask_util.encode(mask)
    lower_half = [T.CropTransform(0, 20, 60, 20)]
    options = {"use_instance_mask": True, "instance_mask_format": "bitmask"}
    cut = mapper(lower_half, **options)(sample)["instances"]
    tight = mapper(lower_half, recompute_boxes=True, **options)(sample)["instances"]
    assert torch.equal(cut.gt_masks.tensor, tight.gt_masks.tensor)
    assert cut.gt_boxes.tensor.tolist() == [[20, 0, 50, 10]]
    assert tight.gt_boxes.tensor.tolist() == [[20, 0, 35, 10]]


def test_a_wrong_size_is_found(sample):
    sample["width"] = 61
    with pytest.raises(ValueError, match=r"image\.png"):
        mapper()(sample)


def test_from_a_config(sample):
    cfg = get_cfg()
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.MODEL.MASK_ON = True
    train, test = DatasetMapper(cfg, is_train=True), DatasetMapper(cfg, False)
    assert [type(aug).__name__ for aug in train.augmentations.augs] == [
        "RandomCrop",
        "ResizeShortestEdge",
        "RandomFlip",
    ]
    assert train.recompute_boxes
    assert train.image_format == "BGR"
    assert len(test.augmentations.augs) == 1
    assert not test.recompute_boxes
    assert max(test(sample)["image"].shape) == 1200
    cfg.INPUT.CROP.ENABLED = False
    cfg.MODEL.KEYPOINT_ON = True
    cfg.DATASETS.TRAIN = ("keypoints_coco_2017_train",)
    keypoints = DatasetMapper(cfg)
    assert keypoints.is_train
    assert len(keypoints.keypoint_hflip_indices) == 17
    cfg.MODEL.LOAD_PROPOSALS = True
    with pytest.raises(NotImplementedError, match="LOAD_PROPOSALS"):
        DatasetMapper(cfg)

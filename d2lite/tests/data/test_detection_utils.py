"""Reading images upright, and transforming annotations with them."""

from __future__ import annotations

import copy

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from PIL import Image

from detectron2.data import MetadataCatalog, detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances

IMAGE = np.random.RandomState(0).randint(0, 256, (6, 9, 3), dtype=np.uint8)

# How a camera stores the upright image for each orientation tag (exif.org, "Orientation":
# where row 0 and column 0 of the stored image are in the scene).
STORED = {
    1: IMAGE,
    2: IMAGE[:, ::-1],
    3: IMAGE[::-1, ::-1],
    4: IMAGE[::-1],
    5: IMAGE.transpose(1, 0, 2),
    6: np.rot90(IMAGE, 1),
    7: IMAGE[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(IMAGE, -1),
}


def save(path, pixels, **options):
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return str(path)


@pytest.mark.parametrize("orientation", STORED)
def test_images_are_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / "image.png", STORED[orientation], exif=exif)
    assert np.array_equal(detection_utils.read_image(path, "RGB"), IMAGE)
    assert np.array_equal(detection_utils.read_image(path), IMAGE)


def test_an_unknown_orientation_is_left_alone(tmp_path):
    exif = Image.Exif()
    exif[274] = 99
    path = save(tmp_path / "image.png", IMAGE, exif=exif)
    assert np.array_equal(detection_utils.read_image(path), IMAGE)


def test_colour_formats(tmp_path):
    path = save(tmp_path / "image.png", IMAGE)
    bgr = detection_utils.read_image(path, "BGR")
    grey = detection_utils.read_image(path, "L")
    yuv = detection_utils.read_image(path, "YUV-BT.601")
    assert np.array_equal(bgr[:, :, ::-1], IMAGE)
    assert grey.shape == (6, 9, 1)
    assert grey.dtype == np.uint8
    luma = IMAGE.dot([0.299, 0.587, 0.114])
    assert np.abs(grey[:, :, 0] - luma).max() <= 1
    assert np.allclose(yuv[:, :, 0] * 255, luma)
    for pixels, name in ((bgr, "BGR"), (IMAGE, "RGB"), (yuv, "YUV-BT.601")):
        for given in (pixels, torch.as_tensor(np.ascontiguousarray(pixels))):
            rgb = detection_utils.convert_image_to_rgb(given, name)
            assert np.abs(rgb - IMAGE.astype(float)).max() < 0.01
    assert np.array_equal(detection_utils.convert_image_to_rgb(grey, "L"), grey.repeat(3, axis=2))


@pytest.mark.parametrize(
    "pixels",
    [IMAGE[:, :, 0], np.dstack([IMAGE, IMAGE[:, :, :1]]), IMAGE[:, :, 0] > 100],
    ids=["grey", "alpha", "bilevel"],
)
def test_any_file_can_be_read_as_rgb(tmp_path, pixels):
    image = detection_utils.read_image(save(tmp_path / "image.png", pixels), "RGB")
    assert image.shape == (6, 9, 3)
    assert image.dtype == np.uint8


def test_unreadable_files_raise(tmp_path):
    with pytest.raises(FileNotFoundError):
        detection_utils.read_image(str(tmp_path / "missing.png"))
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(OSError, match="identify"):
        detection_utils.read_image(str(tmp_path / "text.png"))


def test_sizes_are_checked_or_filled_in():
    sized = {"width": 9, "height": 6}
    detection_utils.check_image_size(sized, IMAGE)
    unsized = {}
    detection_utils.check_image_size(unsized, IMAGE)
    assert unsized == sized
    for name in ({}, {"file_name": "a.png"}):
        with pytest.raises(detection_utils.SizeMismatchError, match=name.get("file_name", "")):
            detection_utils.check_image_size({"width": 6, "height": 9, **name}, IMAGE)
    assert issubclass(detection_utils.SizeMismatchError, ValueError)


def annotation(**fields):
    mask = np.zeros((40, 60), dtype=np.uint8, order="F")
    mask[10:30, 20:50] = 1
    return {
        "bbox": [20, 10, 30, 20],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 2,
        "segmentation": mask_util.encode(mask),
        **fields,
    }


SQUARE = [[20.0, 10.0, 50.0, 10.0, 50.0, 30.0, 20.0, 30.0]]
TRANSFORMS = {
    "flip": [T.HFlipTransform(60)],
    "resize": [T.ResizeTransform(40, 60, 80, 30)],
    "crop": [T.CropTransform(5, 5, 50, 30)],
    "several": [T.VFlipTransform(40), T.ResizeTransform(40, 60, 20, 120), T.HFlipTransform(120)],
}


@pytest.mark.parametrize("transforms", TRANSFORMS.values(), ids=TRANSFORMS)
def test_boxes_polygons_and_masks_stay_together(transforms):
    if any(isinstance(t, T.CropTransform) for t in transforms):
        pytest.importorskip("shapely", reason="fvcore cuts polygons with it")
    size = T.TransformList(transforms).apply_image(np.zeros((40, 60), dtype=np.uint8)).shape
    outputs = [
        detection_utils.transform_instance_annotations(obj, transforms, size)
        for obj in (annotation(), annotation(segmentation=copy.deepcopy(SQUARE)))
    ]
    instances = detection_utils.annotations_to_instances(outputs, size, "bitmask")
    assert instances.image_size == size
    assert instances.gt_classes.tolist() == [2, 2]
    from_rle, from_polygon = instances.gt_masks.tensor
    assert from_rle.shape == size
    assert torch.equal(from_rle, from_polygon)
    assert torch.equal(instances.gt_masks.get_bounding_boxes().tensor, instances.gt_boxes.tensor)


def test_boxes_are_clipped_to_the_image():
    obj = detection_utils.transform_instance_annotations(
        {"bbox": [-5, 5, 70, 20], "bbox_mode": BoxMode.XYXY_ABS}, [T.HFlipTransform(60)], (10, 60)
    )
    assert obj["bbox"].tolist() == [0, 5, 60, 10]
    assert obj["bbox_mode"] == BoxMode.XYXY_ABS


def test_unknown_segmentations_are_refused():
    with pytest.raises(ValueError, match="segmentation"):
        detection_utils.transform_instance_annotations(
            annotation(segmentation="0 1 2"), [T.NoOpTransform()], (40, 60)
        )
    with pytest.raises(ValueError, match="polygons"):
        detection_utils.annotations_to_instances(
            [annotation(segmentation="0 1 2")], (40, 60), "bitmask"
        )
    with pytest.raises(ValueError, match="polygon"):
        detection_utils.annotations_to_instances([annotation()], (40, 60), "polygon")
    with pytest.raises(AssertionError):
        detection_utils.annotations_to_instances([annotation()], (40, 60), "nonsense")


def test_no_annotations_make_empty_instances():
    instances = detection_utils.annotations_to_instances([], (40, 60))
    assert len(instances) == 0
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert not instances.has("gt_masks")


def test_keypoints_flip_to_the_other_side():
    names = MetadataCatalog.get("keypoints_coco_2017_train").keypoint_names
    indices = detection_utils.create_keypoint_hflip_indices("keypoints_coco_2017_train")
    for position, partner in enumerate(indices):
        swapped = names[partner].replace("left", "*").replace("right", "left").replace("*", "right")
        assert names[position] == swapped
        assert indices[partner] == position
    keypoints = np.stack([np.arange(17.0) + 1, np.full(17, 5.0), np.full(17, 2.0)], axis=1)
    flip = T.TransformList([T.HFlipTransform(60)])
    once = detection_utils.transform_keypoint_annotations(keypoints.copy(), flip, (40, 60), indices)
    assert once[1].tolist() == [60 - 3, 5, 2]  # the left eye is where the right one was
    twice = detection_utils.transform_keypoint_annotations(once, flip, (40, 60), indices)
    assert np.array_equal(twice, keypoints)
    for wrong in (None, [0, 1]):
        with pytest.raises(ValueError, match=r"keypoint|Keypoint"):
            detection_utils.transform_keypoint_annotations(keypoints.copy(), flip, (40, 60), wrong)


def test_keypoints_outside_and_unlabelled_ones_are_zero():
    double = T.TransformList([T.ResizeTransform(10, 10, 20, 20)])
    moved = detection_utils.transform_keypoint_annotations(
        [1, 2, 2, 30, 4, 1, 3, 3, 0, 10, 10, 1], double, (20, 20)
    )
    assert moved.tolist() == [[2, 4, 2], [0, 0, 0], [0, 0, 0], [20, 20, 1]]


def test_empty_objects_are_dropped():
    instances = Instances((10, 10))
    instances.gt_boxes = Boxes([[0, 0, 5, 5], [0, 0, 0, 5], [1, 1, 5, 5]])
    masks = torch.zeros(3, 10, 10, dtype=torch.bool)
    masks[:2, 0] = True
    instances.gt_masks = BitMasks(masks)
    for options, kept in (
        ({}, [True, False, False]),
        ({"by_mask": False}, [True, False, True]),
        ({"by_box": False}, [True, True, False]),
        ({"by_mask": False, "box_threshold": 4.5}, [True, False, False]),
    ):
        left, mask = detection_utils.filter_empty_instances(instances, return_mask=True, **options)
        assert mask.tolist() == kept
        assert torch.equal(left.gt_boxes.tensor, instances.gt_boxes.tensor[torch.tensor(kept)])
    with pytest.raises(AssertionError):
        detection_utils.filter_empty_instances(instances, by_box=False, by_mask=False)


@pytest.mark.parametrize("seed", range(10))
def test_crops_hold_the_centre_of_the_object(seed):
    np.random.seed(seed)
    obj = {"bbox": [40, 5, 10, 20], "bbox_mode": BoxMode.XYWH_ABS}
    crop = detection_utils.gen_crop_transform_with_instance((12, 15), (50, 60), obj)
    assert (crop.h, crop.w) == (12, 15)
    assert 0 <= crop.x0 <= 45 <= crop.x0 + crop.w <= 60
    assert 0 <= crop.y0 <= 15 <= crop.y0 + crop.h <= 50
    for crop_size, image_size in (((60, 10), (50, 60)), ((5, 5), (14, 60))):
        with pytest.raises(AssertionError):
            detection_utils.gen_crop_transform_with_instance(crop_size, image_size, obj)


def test_metadata_must_agree(no_catalogs):
    for name, classes in (("a", ["x"]), ("b", ["x"]), ("c", ["y"])):
        MetadataCatalog.get(name).thing_classes = classes
    detection_utils.check_metadata_consistency("thing_classes", ["a", "b"])
    detection_utils.check_metadata_consistency("thing_classes", [])
    with pytest.raises(ValueError, match="thing_classes"):
        detection_utils.check_metadata_consistency("thing_classes", ["a", "c"])
    with pytest.raises(AttributeError):
        detection_utils.check_metadata_consistency("stuff_classes", ["a"])


def test_weights_from_image_counts(no_catalogs):
    counts = [{"id": 2, "image_count": 4}, {"id": 1, "image_count": 9}]
    MetadataCatalog.get("rare").class_image_count = counts
    weights = detection_utils.get_fed_loss_cls_weights("rare", 0.5)
    assert weights.tolist() == [3, 2]

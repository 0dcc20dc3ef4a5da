"""What mappers are made of: reading images, transforming annotations, making ``Instances``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch

from detectron2.structures import (
    BitMasks,
    Boxes,
    BoxMode,
    Instances,
    Keypoints,
    PolygonMasks,
    polygons_to_bitmask,
)

from . import transforms as T
from ._image_io import (
    _EXIF_ORIENT,
    _M_RGB2YUV,
    _M_YUV2RGB,
    SizeMismatchError,
    _apply_exif_orientation,
    check_image_size,
    convert_image_to_rgb,
    convert_PIL_to_numpy,
    read_image,
)
from .catalog import MetadataCatalog

__all__ = [
    "_EXIF_ORIENT",
    "_M_RGB2YUV",
    "_M_YUV2RGB",
    "SizeMismatchError",
    "_apply_exif_orientation",
    "annotations_to_instances",
    "build_augmentation",
    "build_transform_gen",
    "check_image_size",
    "check_metadata_consistency",
    "convert_PIL_to_numpy",
    "convert_image_to_rgb",
    "create_keypoint_hflip_indices",
    "filter_empty_instances",
    "gen_crop_transform_with_instance",
    "get_bbox",
    "get_fed_loss_cls_weights",
    "read_image",
    "transform_instance_annotations",
    "transform_keypoint_annotations",
]


def get_bbox(annotation: dict[str, Any]) -> Sequence[float]:
    """Return the box of an annotation as absolute xyxy, in the type it has there."""
    return BoxMode.convert(annotation["bbox"], annotation["bbox_mode"], BoxMode.XYXY_ABS)


def transform_instance_annotations(
    annotation: dict[str, Any],
    transforms: T.TransformList | Sequence[T.Transform],
    image_size: tuple[int, int],
    *,
    keypoint_hflip_indices: np.ndarray | None = None,
) -> dict[str, Any]:
    """Transform box, segmentation and keypoints of one object.

    Args:
        annotation: changed in place.
        transforms: applied in their order.
        image_size: (height, width) after the transforms, to which the box is clipped.
        keypoint_hflip_indices: see ``create_keypoint_hflip_indices``.

    Returns:
        The annotation, with the box in absolute xyxy; polygons stay polygons, RLE becomes a
        mask array.
    """
    if isinstance(transforms, (tuple, list)):
        transforms = T.TransformList(transforms)
    height, width = image_size
    box = transforms.apply_box(np.array([get_bbox(annotation)]))[0]
    annotation["bbox"] = np.clip(box, 0, [width, height, width, height])
    annotation["bbox_mode"] = BoxMode.XYXY_ABS
    if "segmentation" in annotation:
        annotation["segmentation"] = _transform_segmentation(
            annotation["segmentation"], transforms, image_size
        )
    if "keypoints" in annotation:
        annotation["keypoints"] = transform_keypoint_annotations(
            annotation["keypoints"], transforms, image_size, keypoint_hflip_indices
        )
    return annotation


def _transform_segmentation(
    segmentation: Any, transforms: T.TransformList, image_size: tuple[int, int]
) -> Any:
    if isinstance(segmentation, list):
        points = [np.asarray(polygon).reshape(-1, 2) for polygon in segmentation]
        return [polygon.reshape(-1) for polygon in transforms.apply_polygons(points)]
    if isinstance(segmentation, dict):
        mask = transforms.apply_segmentation(mask_util.decode(segmentation))
        assert tuple(mask.shape[:2]) == tuple(image_size), f"{mask.shape} is not {image_size}"
        return mask
    raise ValueError(
        f"cannot transform a segmentation of type {type(segmentation)}; supported are polygons "
        "as a list of lists or arrays, and COCO's RLE as a dict"
    )


def transform_keypoint_annotations(
    keypoints: Sequence[float],
    transforms: T.TransformList,
    image_size: tuple[int, int],
    keypoint_hflip_indices: np.ndarray | None = None,
) -> np.ndarray:
    """Transform the keypoints of one object.

    Args:
        keypoints: (x, y, visibility) for each, flat or not.
        transforms: their horizontal flips also swap left and right keypoints.
        image_size: (height, width) after the transforms.
        keypoint_hflip_indices: see ``create_keypoint_hflip_indices``.

    Returns:
        float64 [K, 3]; points outside of the image and unlabelled ones are all zero.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64).reshape(-1, 3)
    height, width = image_size
    points = transforms.apply_coords(keypoints[:, :2])
    inside = ((points >= 0) & (points <= (width, height))).all(axis=1)
    keypoints[:, :2] = points
    keypoints[~inside, 2] = 0

    num_flips = sum(isinstance(t, T.HFlipTransform) for t in transforms.transforms)
    if num_flips % 2:
        if keypoint_hflip_indices is None:
            raise ValueError("cannot flip keypoints without knowing which ones to swap")
        if len(keypoint_hflip_indices) != len(keypoints):
            raise ValueError(
                f"there are {len(keypoints)} keypoints in the annotation, but "
                f"{len(keypoint_hflip_indices)} in the metadata"
            )
        keypoints = keypoints[np.asarray(keypoint_hflip_indices, dtype=np.int64)]
    keypoints[keypoints[:, 2] == 0] = 0  # COCO's convention
    return keypoints


def annotations_to_instances(
    annos: Sequence[dict[str, Any]], image_size: tuple[int, int], mask_format: str = "polygon"
) -> Instances:
    """Collect the annotations of one image.

    Args:
        annos: one dict per object.
        image_size: (height, width).
        mask_format: "polygon" or "bitmask".

    Returns:
        gt_boxes and gt_classes, with gt_masks and gt_keypoints if the first object has such.
    """
    boxes = np.stack([get_bbox(obj) for obj in annos]) if len(annos) else np.zeros((0, 4))
    target = Instances(image_size, gt_boxes=Boxes(boxes))
    target.gt_classes = torch.tensor([int(obj["category_id"]) for obj in annos], dtype=torch.int64)
    if len(annos) and "segmentation" in annos[0]:
        segmentations = [obj["segmentation"] for obj in annos]
        target.gt_masks = _collect_masks(segmentations, image_size, mask_format)
    if len(annos) and "keypoints" in annos[0]:
        target.gt_keypoints = Keypoints([obj.get("keypoints", []) for obj in annos])
    return target


def _collect_masks(
    segmentations: list[Any], image_size: tuple[int, int], mask_format: str
) -> PolygonMasks | BitMasks:
    if mask_format == "polygon":
        try:
            return PolygonMasks(segmentations)
        except ValueError as error:
            raise ValueError("mask_format is 'polygon', but not all masks are polygons") from error
    assert mask_format == "bitmask", f"unknown mask_format {mask_format!r}"
    masks = [_to_bitmask(segmentation, image_size) for segmentation in segmentations]
    # from_numpy() refuses negative strides, which flipped masks have.
    return BitMasks(torch.stack([torch.from_numpy(np.ascontiguousarray(m)) for m in masks]))


def _to_bitmask(segmentation: Any, image_size: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, list):
        return polygons_to_bitmask(segmentation, *image_size)
    if isinstance(segmentation, dict):
        return mask_util.decode(segmentation)
    if isinstance(segmentation, np.ndarray):
        assert segmentation.ndim == 2, f"a mask should have 2 axes, got {segmentation.ndim}"
        return segmentation
    raise ValueError(
        f"cannot make a mask of type {type(segmentation)}; supported are polygons as a list of "
        "lists or arrays, COCO's RLE as a dict, and a mask as an array [H, W]"
    )


def filter_empty_instances(
    instances: Instances,
    by_box: bool = True,
    by_mask: bool = True,
    box_threshold: float = 1e-5,
    return_mask: bool = False,
) -> Instances | tuple[Instances, torch.Tensor]:
    """Drop objects of which nothing is left.

    Args:
        instances: with gt_boxes, and gt_masks if there are any.
        by_box: drop those whose box has a side at most ``box_threshold`` long.
        by_mask: drop those whose mask is empty.
        box_threshold: see ``by_box``.
        return_mask: also return which ones were kept.
    """
    assert by_box or by_mask, "nothing to filter by"
    checks = []
    if by_box:
        checks.append(instances.gt_boxes.nonempty(threshold=box_threshold))
    if by_mask and instances.has("gt_masks"):
        checks.append(instances.gt_masks.nonempty())
    if not checks:
        return instances
    keep = torch.stack(checks).all(dim=0)
    return (instances[keep], keep) if return_mask else instances[keep]


def create_keypoint_hflip_indices(dataset_names: str | list[str]) -> list[int]:
    """Return for each keypoint which one takes its place in a mirrored image."""
    names = [dataset_names] if isinstance(dataset_names, str) else dataset_names
    check_metadata_consistency("keypoint_names", names)
    check_metadata_consistency("keypoint_flip_map", names)
    metadata = MetadataCatalog.get(names[0])
    partner = dict(metadata.keypoint_flip_map)
    partner.update({right: left for left, right in metadata.keypoint_flip_map})
    keypoints = metadata.keypoint_names
    return [keypoints.index(partner.get(name, name)) for name in keypoints]


def get_fed_loss_cls_weights(
    dataset_names: str | list[str], freq_weight_power: float = 1.0
) -> torch.Tensor:
    """Return each class's number of images, to a power, in the order of class ids."""
    names = [dataset_names] if isinstance(dataset_names, str) else dataset_names
    check_metadata_consistency("class_image_count", names)
    counts = sorted(MetadataCatalog.get(names[0]).class_image_count, key=lambda item: item["id"])
    return torch.tensor([item["image_count"] for item in counts]).float() ** freq_weight_power


def gen_crop_transform_with_instance(
    crop_size: tuple[int, int], image_size: tuple[int, int], instance: dict[str, Any]
) -> T.CropTransform:
    """Draw a window which holds the centre of an object.

    Args:
        crop_size: (height, width) of the window.
        image_size: (height, width).
        instance: the annotation of the object.
    """
    crop_size, image_size = np.asarray(crop_size), np.asarray(image_size)
    x0, y0, x1, y1 = get_bbox(instance)
    center = np.array([(y0 + y1) * 0.5, (x0 + x1) * 0.5])
    assert (image_size >= center).all(), "the centre of the box is outside of the image"
    assert (image_size >= crop_size).all(), "the crop is larger than the image"
    lowest = np.maximum(np.floor(center).astype(int) - crop_size, 0)
    highest = np.minimum(np.ceil(center).astype(int), np.maximum(image_size - crop_size, 0))
    top, left = (np.random.randint(low, high + 1) for low, high in zip(lowest, highest))
    height, width = crop_size
    return T.CropTransform(left, top, width, height)


def check_metadata_consistency(key: str, dataset_names: Sequence[str]) -> None:
    """Check that datasets agree on a metadata attribute.

    Raises:
        AttributeError: if one of them lacks it.
        ValueError: if two of them differ.
    """
    values = [getattr(MetadataCatalog.get(name), key) for name in dataset_names]
    for name, value in zip(dataset_names, values):
        if value != values[0]:
            logger = logging.getLogger(__name__)
            logger.error("Metadata '%s' for dataset '%s' is '%s'", key, name, value)
            logger.error("Metadata '%s' for dataset '%s' is '%s'", key, dataset_names[0], values[0])
            raise ValueError(f"Datasets have different metadata '{key}'!")


def build_augmentation(cfg: Any, is_train: bool) -> list[T.Augmentation]:
    """Return the augmentations that a config asks for: resizing, and flipping in training."""
    if not is_train:
        size, longest = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST
        return [T.ResizeShortestEdge(size, longest, "choice")]
    size, longest = cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN
    augmentations = [T.ResizeShortestEdge(size, longest, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING)]
    flip = cfg.INPUT.RANDOM_FLIP
    if flip != "none":
        augmentations.append(
            T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical")
        )
    return augmentations


build_transform_gen = build_augmentation

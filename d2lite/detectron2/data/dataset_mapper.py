"""The default mapper: one dataset dict in, one model input out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from detectron2._missing import missing
from detectron2.config import configurable

from . import detection_utils as utils
from . import transforms as T

__all__ = ["DatasetMapper"]


class DatasetMapper:
    """Reads the image of a dataset dict, augments it, and prepares its annotations.

    The result has "image", a tensor [C, H, W]; "sem_seg", int64 [H, W], where the dict names a
    file of labels; "instances" in training where it has annotations; and what else was there.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation | T.Transform],
        image_format: str,
        use_instance_mask: bool = False,
        use_keypoint: bool = False,
        instance_mask_format: str = "polygon",
        keypoint_hflip_indices: np.ndarray | None = None,
        precomputed_proposal_topk: int | None = None,
        recompute_boxes: bool = False,
    ) -> None:
        """Remember what to do.

        Args:
            is_train: whether to prepare annotations.
            augmentations: applied in their order.
            image_format: see ``detection_utils.read_image``.
            use_instance_mask: keep masks.
            use_keypoint: keep keypoints.
            instance_mask_format: "polygon" or "bitmask".
            keypoint_hflip_indices: see ``detection_utils.create_keypoint_hflip_indices``.
            precomputed_proposal_topk: only upstream keeps proposals.
            recompute_boxes: replace boxes by the bounding boxes of the masks, which are
                tighter after cropping.
        """
        if precomputed_proposal_topk is not None:
            raise missing("proposals that were made before (MODEL.LOAD_PROPOSALS)")
        assert use_instance_mask or not recompute_boxes, "recompute_boxes needs instance masks"
        self.is_train = is_train
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.use_instance_mask, self.instance_mask_format = use_instance_mask, instance_mask_format
        self.use_keypoint, self.keypoint_hflip_indices = use_keypoint, keypoint_hflip_indices
        self.recompute_boxes = recompute_boxes
        logging.getLogger(__name__).info(
            "[DatasetMapper] Augmentations used in %s: %s",
            "training" if is_train else "inference",
            augmentations,
        )

    @classmethod
    def from_config(cls, cfg: Any, is_train: bool = True) -> dict[str, Any]:
        """Translate a config into arguments of the constructor."""
        augmentations = utils.build_augmentation(cfg, is_train)
        crop = is_train and cfg.INPUT.CROP.ENABLED
        if crop:
            augmentations.insert(0, T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
        arguments = {
            "is_train": is_train,
            "augmentations": augmentations,
            "image_format": cfg.INPUT.FORMAT,
            "use_instance_mask": cfg.MODEL.MASK_ON,
            "use_keypoint": cfg.MODEL.KEYPOINT_ON,
            "instance_mask_format": cfg.INPUT.MASK_FORMAT,
            "recompute_boxes": crop and cfg.MODEL.MASK_ON,
        }
        if cfg.MODEL.KEYPOINT_ON:
            indices = utils.create_keypoint_hflip_indices(cfg.DATASETS.TRAIN)
            arguments["keypoint_hflip_indices"] = indices
        if cfg.MODEL.LOAD_PROPOSALS:
            split = "TRAIN" if is_train else "TEST"
            topk = cfg.DATASETS[f"PRECOMPUTED_PROPOSAL_TOPK_{split}"]
            arguments["precomputed_proposal_topk"] = topk
        return arguments

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Map one dataset dict, which is left as it is."""
        dataset_dict = copy.deepcopy(dataset_dict)
        image = utils.read_image(dataset_dict["file_name"], format=self.image_format)
        utils.check_image_size(dataset_dict, image)
        labels = None
        if "sem_seg_file_name" in dataset_dict:
            labels = utils.read_image(dataset_dict.pop("sem_seg_file_name"), "L").squeeze(2)

        aug_input = T.AugInput(image, sem_seg=labels)
        transforms = self.augmentations(aug_input)
        image_shape = aug_input.image.shape[:2]

        pixels = np.ascontiguousarray(aug_input.image.transpose(2, 0, 1))  # [C, H, W]
        dataset_dict["image"] = torch.as_tensor(pixels)
        if aug_input.sem_seg is not None:
            dataset_dict["sem_seg"] = torch.as_tensor(aug_input.sem_seg.astype(np.int64))
        if not self.is_train:
            dataset_dict.pop("annotations", None)
        elif "annotations" in dataset_dict:
            self._transform_annotations(dataset_dict, transforms, image_shape)
        return dataset_dict

    def _transform_annotations(
        self,
        dataset_dict: dict[str, Any],
        transforms: T.TransformList,
        image_shape: tuple[int, int],
    ) -> None:
        """Replace "annotations" by "instances", in which crowds are left out."""
        objects = [obj for obj in dataset_dict.pop("annotations") if obj.get("iscrowd", 0) == 0]
        for obj in objects:
            if not self.use_instance_mask:
                obj.pop("segmentation", None)
            if not self.use_keypoint:
                obj.pop("keypoints", None)
            utils.transform_instance_annotations(
                obj, transforms, image_shape, keypoint_hflip_indices=self.keypoint_hflip_indices
            )
        instances = utils.annotations_to_instances(
            objects, image_shape, mask_format=self.instance_mask_format
        )
        if self.recompute_boxes:
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        dataset_dict["instances"] = utils.filter_empty_instances(instances)

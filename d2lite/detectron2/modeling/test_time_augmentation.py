"""Test-time augmentation: the mapper that makes the augmented inputs of one image."""

from __future__ import annotations

import copy

import numpy as np
import torch
from fvcore.transforms.transform import NoOpTransform

from detectron2.config import configurable
from detectron2.data.transforms import (
    RandomFlip,
    ResizeShortestEdge,
    ResizeTransform,
    apply_augmentations,
)

__all__ = ["DatasetMapperTTA"]


class DatasetMapperTTA:
    """Makes a resized, and optionally a flipped, version of one input for each size."""

    @configurable
    def __init__(self, min_sizes, max_size, flip):
        """Set the augmentations.

        Args:
            min_sizes: lengths of the short side to resize to.
            max_size: longest allowed side.
            flip: add a horizontally flipped version of each.
        """
        self.min_sizes = min_sizes
        self.max_size = max_size
        self.flip = flip

    @classmethod
    def from_config(cls, cfg):
        options = cfg.TEST.AUG
        return {
            "min_sizes": options.MIN_SIZES,
            "max_size": options.MAX_SIZE,
            "flip": options.FLIP,
        }

    def __call__(self, dataset_dict):
        """Return augmented copies of a model input.

        Args:
            dataset_dict: with "image" [C, H, W] and the original "height" and "width".

        Returns:
            A list of dicts, each with its "image" and with "transforms", which lead from the
            original image to that one.
        """
        image = dataset_dict["image"].permute(1, 2, 0).numpy()
        before = _resize_between((dataset_dict["height"], dataset_dict["width"]), image.shape[:2])
        outputs = []
        for augmentations in self._augmentations():
            augmented, transforms = apply_augmentations(augmentations, np.copy(image))
            output = copy.deepcopy(dataset_dict)
            output["transforms"] = before + transforms
            output["image"] = torch.from_numpy(np.ascontiguousarray(augmented.transpose(2, 0, 1)))
            outputs.append(output)
        return outputs

    def _augmentations(self):
        for size in self.min_sizes:
            yield [ResizeShortestEdge(size, self.max_size)]
            if self.flip:
                yield [ResizeShortestEdge(size, self.max_size), RandomFlip(prob=1.0)]


def _resize_between(source, target):
    return NoOpTransform() if source == target else ResizeTransform(*source, *target)

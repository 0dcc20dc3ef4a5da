"""The one dataset mapper: reads an image and its annotation, augments both, derives the targets.

Shapes: N targets, H W size of the augmented and padded image.
"""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detectron2.config import configurable
from detectron2.data import MetadataCatalog
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances
from detectron2.utils.file_io import PathManager
from freeseg.data.annotation import Annotation, InstanceMasks, SegmentMap
from freeseg.data.augmentation import (
    LargeScaleJitter,
    RandomColorSSD,
    ShortSideCrop,
    build_flip,
)
from freeseg.data.panoptic import rgb2id
from freeseg.images import order_channels, read_image

TASKS = ("semantic", "instance", "panoptic")
IMAGE_PADDING = 128  # grey, near the mean colour, as published

# published mapper name -> task it trains and geometry it augments with
PUBLISHED_MAPPERS = {
    "coco_panoptic_lsj": ("panoptic", LargeScaleJitter),
    "coco_instance_lsj": ("instance", LargeScaleJitter),
    "mask_former_semantic": ("semantic", ShortSideCrop),
    "mask_former_panoptic": ("panoptic", ShortSideCrop),
    "mask_former_instance": ("instance", ShortSideCrop),
    "oneformer_unified": ("random", ShortSideCrop),
    "coco_unified_lsj": ("random", LargeScaleJitter),
}

Record = dict[str, Any]
Geometry = Union[LargeScaleJitter, ShortSideCrop]


class SegmentationMapper:
    """Turns a dataset record into model input, with the targets of one task.

    All targets come from one annotation: the panoptic one if the record has it, else its instance
    annotations, else its semantic map. A record with "seed" and "position" is augmented by these
    two alone, whatever was drawn before and in whichever process.
    """

    @configurable
    def __init__(
        self,
        *,
        augmentations: Sequence[T.Augmentation],
        image_format: str,
        is_train: bool = True,
        task: str = "panoptic",
        task_probabilities: Sequence[float] = (1 / 3, 1 / 3, 1 / 3),
        size_divisibility: int = -1,
        ignore_label: int = 255,
    ) -> None:
        """Define a mapper from its parts; SegmentationMapper(cfg, is_train) does it from a config.

        Args:
            augmentations: applied in this order to the image and its annotation.
            image_format: channel order of the output, "RGB" or "BGR".
            is_train: False gives no targets.
            task: "semantic", "instance", "panoptic", or "random" for a draw per image.
            task_probabilities: of semantic, instance and panoptic when the task is "random".
            size_divisibility: pad height and width up to a multiple of this, if positive.
            ignore_label: of semantic maps.
        """
        if task not in (*TASKS, "random"):
            raise ValueError(f"task must be one of {', '.join(TASKS)} or random, got {task!r}")
        if len(task_probabilities) != len(TASKS) or min(task_probabilities) < 0:
            raise ValueError(
                f"task_probabilities are {len(TASKS)} numbers >= 0 for {', '.join(TASKS)}, "
                f"got {tuple(task_probabilities)}"
            )
        self.augmentations = T.AugmentationList(list(augmentations))
        self._crops_by_class = any(
            isinstance(step, T.RandomCrop_CategoryAreaConstraint) for step in augmentations
        )
        self.image_format = image_format
        self.is_train = is_train
        self.task = task
        self.task_probabilities = tuple(task_probabilities)
        self.size_divisibility = size_divisibility
        self.ignore_label = ignore_label

    @classmethod
    def from_config(cls, cfg: Any, is_train: bool = True) -> dict[str, Any]:
        arguments = {"image_format": cfg.INPUT.FORMAT, "is_train": is_train}
        if not is_train:
            resize = T.ResizeShortestEdge(
                [cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST], cfg.INPUT.MAX_SIZE_TEST
            )
            return {**arguments, "augmentations": [resize]}
        name = cfg.INPUT.DATASET_MAPPER_NAME
        if name not in PUBLISHED_MAPPERS:
            raise ValueError(
                f"INPUT.DATASET_MAPPER_NAME {name!r} is unknown; "
                f"known names are {', '.join(PUBLISHED_MAPPERS)}"
            )
        task, geometry = PUBLISHED_MAPPERS[name]
        ignore_label = _ignore_label(cfg.DATASETS.TRAIN)
        return {
            **arguments,
            "augmentations": _train_augmentations(cfg, geometry, task, ignore_label),
            "task": cfg.INPUT.TASK or task,
            "task_probabilities": _task_probabilities(cfg.INPUT.TASK_PROB),
            "size_divisibility": (cfg.INPUT.SIZE_DIVISIBILITY if geometry is ShortSideCrop else -1),
            "ignore_label": ignore_label,
        }

    def __call__(self, record: Mapping[str, Any]) -> Record:
        """Model input of a record: image [3, H, W] and, in training, "task" and "instances"."""
        output = {key: value for key, value in record.items() if key not in _ANNOTATION_KEYS}
        with seeded(record.get("seed"), record.get("position")):
            photo = read_image(PathManager.get_local_path(record["file_name"]))
            image = order_channels(photo, self.image_format)
            utils.check_image_size(output, image)
            if not self.is_train:
                inputs = T.AugInput(image)
                self.augmentations(inputs)
                output["image"] = _to_tensor(inputs.image)
                return output
            annotation, tasks = self._read_annotation(record, image.shape[:2])
            output["task"] = self._pick_task(tasks, record)
            output["image"], output["instances"] = self._augment(image, annotation, output["task"])
        return output

    def _augment(
        self, image: npt.NDArray[np.uint8], annotation: Annotation, task: str
    ) -> tuple[Tensor, Instances]:
        labels = annotation.class_map(self.ignore_label) if self._crops_by_class else None
        inputs = T.AugInput(image, sem_seg=labels)
        transforms = self.augmentations(inputs)
        height, width = inputs.image.shape[:2]
        classes, masks = annotation.apply(transforms, (height, width)).targets(task)

        padded = tuple(_round_up(side, self.size_divisibility) for side in (height, width))
        bottom, right = padded[0] - height, padded[1] - width
        image = np.pad(
            inputs.image, ((0, bottom), (0, right), (0, 0)), constant_values=IMAGE_PADDING
        )
        masks = np.pad(masks, ((0, 0), (0, bottom), (0, right)), constant_values=False)
        instances = Instances(padded)
        instances.gt_classes = torch.from_numpy(classes)  # [N]
        instances.gt_masks = BitMasks(torch.from_numpy(masks))  # [N, H, W]
        return _to_tensor(image), instances

    def _read_annotation(
        self, record: Mapping[str, Any], size: tuple[int, int]
    ) -> tuple[Annotation, tuple[str, ...]]:
        """The record's annotation and the tasks whose targets it can give."""
        if "pan_seg_file_name" in record:
            colors = _read(record["pan_seg_file_name"], "RGB")
            segments = SegmentMap.from_panoptic(rgb2id(colors), record["segments_info"])
            return segments, TASKS
        if "annotations" in record:
            return InstanceMasks(copy.deepcopy(record["annotations"]), size), TASKS
        if "sem_seg_file_name" in record:
            labels = _read(record["sem_seg_file_name"])
            labels = labels[..., 0] if labels.ndim == 3 else labels
            return SegmentMap.from_semantic(labels, self.ignore_label), ("semantic", "panoptic")
        raise ValueError(
            f"{record['file_name']} has no ground truth: a training record needs "
            "pan_seg_file_name, annotations or sem_seg_file_name"
        )

    def _pick_task(self, possible: Sequence[str], record: Mapping[str, Any]) -> str:
        if self.task == "random":
            weights = [
                weight if task in possible else 0.0
                for task, weight in zip(TASKS, self.task_probabilities)
            ]
            return random.choices(TASKS, weights)[0]
        if self.task not in possible:
            raise ValueError(
                f"{record['file_name']} has only semantic ground truth, which gives no "
                f"{self.task} targets"
            )
        return self.task


_ANNOTATION_KEYS = frozenset(
    {"annotations", "pan_seg_file_name", "segments_info", "sem_seg_file_name", "seed"}
)


@contextlib.contextmanager
def seeded(seed: int | None, position: int | None) -> Iterator[None]:
    """Seed numpy and random from (seed, position) inside the block only; None changes nothing."""
    if seed is None or position is None:
        yield
        return
    numpy_state, python_state = np.random.get_state(), random.getstate()
    entropy = np.random.SeedSequence([seed, position]).generate_state(2)
    np.random.seed(entropy[0])
    random.seed(int(entropy[1]))
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def _train_augmentations(
    cfg: Any, geometry: type[Geometry], task: str, ignore_label: int
) -> list[T.Augmentation]:
    flip = build_flip(cfg.INPUT.RANDOM_FLIP)
    color = [RandomColorSSD(cfg.INPUT.FORMAT)] if cfg.INPUT.COLOR_AUG_SSD else []
    if geometry is LargeScaleJitter:
        jitter = LargeScaleJitter(cfg.INPUT.IMAGE_SIZE, cfg.INPUT.MIN_SCALE, cfg.INPUT.MAX_SCALE)
        return [*flip, *jitter.build(), *color]
    crop = cfg.INPUT.CROP
    short_side = ShortSideCrop(
        min_size=cfg.INPUT.MIN_SIZE_TRAIN,
        max_size=cfg.INPUT.MAX_SIZE_TRAIN,
        sampling=cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING,
        crop_type=crop.TYPE if crop.ENABLED else "",
        crop_size=crop.SIZE,
        # one class filling an instance crop is nothing unusual: published without the constraint
        max_category_area=1.0 if task == "instance" else crop.SINGLE_CATEGORY_MAX_AREA,
        ignore_label=ignore_label,
    )
    return [*short_side.build(), *color, *flip]


def _task_probabilities(cumulative: Any) -> tuple[float, float, float]:
    """OneFormer's INPUT.TASK_PROB {SEMANTIC, INSTANCE}, cumulative, as three probabilities."""
    semantic, instance = float(cumulative.SEMANTIC), float(cumulative.INSTANCE)
    if not 0 <= semantic <= instance <= 1:
        raise ValueError(
            "INPUT.TASK_PROB is cumulative: 0 <= SEMANTIC <= INSTANCE <= 1, "
            f"got {semantic} and {instance}"
        )
    return semantic, instance - semantic, 1 - instance


def _ignore_label(dataset_names: Sequence[str]) -> int:
    """The training sets' ignore_label; sets without one (instances) have Detectron2's usual 255."""
    labels = {MetadataCatalog.get(name).get("ignore_label", 255) for name in dataset_names}
    if len(labels) > 1:
        raise ValueError(f"training sets have different ignore labels: {sorted(labels)}")
    return labels.pop() if labels else 255


def _read(file_name: str, image_format: str | None = None) -> npt.NDArray[Any]:
    """Detectron2's read_image, whose errors do not always name the file."""
    try:
        return utils.read_image(file_name, format=image_format)
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises for damaged files
        raise OSError(f"cannot read {file_name}: {error}") from error


def _round_up(side: int, divisor: int) -> int:
    return side if divisor <= 0 else -(-side // divisor) * divisor


def _to_tensor(image: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # [3, H, W]

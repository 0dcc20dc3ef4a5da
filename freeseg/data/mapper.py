"""The one dataset mapper: reads an image and its annotation, augments both, derives the targets.

Shapes: N targets, H W size of the augmented and padded image.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detectron2.config import configurable
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances
from freeseg.classes import trained_vocabulary
from freeseg.config import completed, training_tasks
from freeseg.data.annotation import Annotation
from freeseg.data.annotation_files import read_annotation
from freeseg.data.augmentation import (
    LargeScaleJitter,
    RandomColorSSD,
    ShortSideCrop,
    build_flip,
)
from freeseg.data.datasets.catalog import (
    IGNORE_LABEL,
    IGNORED_KEY,
    IGNORED_PIXELS_KEY,
    LABELS_KEY,
    STUFF_KEY,
    ignore_label_of,
)
from freeseg.data.mapper_registry import MAPPER_REGISTRY, require_known_mapper
from freeseg.data.photos import PhotoReader
from freeseg.images import order_channels
from freeseg.inference.input_size import build_resize
from freeseg.structures import JUDGED_TASKS, Vocabulary

IMAGE_PADDING = 128  # grey, near the mean colour, as published

PER_BATCH = "per_batch"  # one task for a whole batch, drawn from those of INPUT.TASK_NAME
TASK_STREAM = 1  # keeps the draw of a batch's task apart from the draws of its samples

# published mapper name -> task it trains and geometry it augments with
PUBLISHED_MAPPERS = {
    "coco_panoptic_lsj": ("panoptic", LargeScaleJitter),
    "coco_instance_lsj": ("instance", LargeScaleJitter),
    "mask_former_semantic": ("semantic", ShortSideCrop),
    "mask_former_panoptic": ("panoptic", ShortSideCrop),
    "mask_former_instance": ("instance", ShortSideCrop),
    "oneformer_unified": ("random", ShortSideCrop),
    "coco_unified_lsj": ("random", LargeScaleJitter),
    "coco_full_lsj": (PER_BATCH, ShortSideCrop),  # [sic]: the release's crops are not large-scale
    "ade20k_full_lsj": (PER_BATCH, ShortSideCrop),
    "lseg_semantic": ("semantic", LargeScaleJitter),  # LSeg's recipe; the release has no names
}

Record = dict[str, Any]
Geometry = LargeScaleJitter | ShortSideCrop


@dataclass(frozen=True)
class BatchTasks:
    """Draws one task for each batch from its number, so that a resumed run draws the same.

    Attributes:
        tasks: equally likely.
        batch_size: samples of all processes in a batch.
    """

    tasks: tuple[str, ...]
    batch_size: int

    def __post_init__(self) -> None:
        if not self.tasks or not set(self.tasks) <= set(JUDGED_TASKS):
            raise ValueError(
                f"wanted some of the tasks {', '.join(JUDGED_TASKS)}, got {self.tasks}"
            )

    def draw(self, record: Mapping[str, Any]) -> str:
        """The task of the batch that a record with "seed" and "position" is in."""
        key = [record["seed"], record["position"] // self.batch_size, TASK_STREAM]
        place = np.random.SeedSequence(key).generate_state(1)[0] % len(self.tasks)
        return self.tasks[int(place)]


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
        batch_tasks: BatchTasks | None = None,
        vocabulary: Vocabulary | None = None,
        size_divisibility: int = -1,
        ignore_label: int = 255,
        reader: PhotoReader | None = None,
        num_classes: int | None = None,
    ) -> None:
        """Define a mapper from its parts; SegmentationMapper(cfg, is_train) does it from a config.

        Args:
            augmentations: applied in this order to the image and its annotation.
            image_format: channel order of the output, "RGB" or "BGR".
            is_train: False gives no targets.
            task: "semantic", "instance", "panoptic", "random" for a draw per image, or
                "per_batch" for a draw per batch.
            task_probabilities: of semantic, instance and panoptic when the task is "random".
            batch_tasks: draws when the task is "per_batch".
            vocabulary: class list that test images are to be segmented into; None: the model's.
            size_divisibility: pad height and width up to a multiple of this, if positive.
            ignore_label: of semantic maps.
            reader: reads the photos; None: as INPUT's defaults say.
            num_classes: targets of a class beyond these are an error; None: of any class.
        """
        if task not in (*JUDGED_TASKS, "random", PER_BATCH):
            raise ValueError(
                f"task must be one of {', '.join(JUDGED_TASKS)}, random or {PER_BATCH}, "
                f"got {task!r}"
            )
        if task == PER_BATCH and batch_tasks is None:
            raise ValueError(f"the task {PER_BATCH} needs batch_tasks to draw from")
        if len(task_probabilities) != len(JUDGED_TASKS) or min(task_probabilities) < 0:
            raise ValueError(
                f"task_probabilities are {len(JUDGED_TASKS)} numbers >= 0 for "
                f"{', '.join(JUDGED_TASKS)}, got {tuple(task_probabilities)}"
            )
        self.augmentations = T.AugmentationList(list(augmentations))
        self._crops_by_class = any(
            isinstance(step, T.RandomCrop_CategoryAreaConstraint) for step in augmentations
        )
        self.image_format = image_format
        self.is_train = is_train
        self.task = task
        self.task_probabilities = tuple(task_probabilities)
        self.batch_tasks = batch_tasks
        self.vocabulary = vocabulary
        self.size_divisibility = size_divisibility
        self.ignore_label = ignore_label
        self.reader = reader or PhotoReader()
        self.num_classes = num_classes

    @classmethod
    def from_config(cls, cfg: Any, is_train: bool = True) -> dict[str, Any]:
        cfg = completed(cfg)
        reader = PhotoReader.from_config(cfg)
        arguments = {"image_format": cfg.INPUT.FORMAT, "is_train": is_train, "reader": reader}
        if not is_train:
            return {**arguments, "augmentations": [build_resize(cfg)]}
        name = cfg.INPUT.DATASET_MAPPER_NAME
        require_known_mapper(name, PUBLISHED_MAPPERS)
        task, geometry = PUBLISHED_MAPPERS[name]
        ignore_label = shared_ignore_label(cfg.DATASETS.TRAIN)
        classes = None if cfg.DATASETS.MIX_LABEL_SETS else trained_vocabulary(cfg)
        return {
            **arguments,
            "augmentations": _train_augmentations(cfg, geometry, task, ignore_label),
            "task": cfg.INPUT.TASK or task,
            "task_probabilities": _task_probabilities(cfg.INPUT.TASK_PROB),
            "batch_tasks": BatchTasks(training_tasks(cfg), cfg.SOLVER.IMS_PER_BATCH),
            "size_divisibility": (cfg.INPUT.SIZE_DIVISIBILITY if geometry is ShortSideCrop else -1),
            "ignore_label": ignore_label,
            "num_classes": None if classes is None else len(classes),
        }

    def __call__(self, record: Mapping[str, Any]) -> Record:
        """Model input of a record: image [3, H, W] and, in training, "task" and "instances"."""
        output = {key: value for key, value in record.items() if key not in _ANNOTATION_KEYS}
        with seeded(record.get("seed"), record.get("position")):
            image = order_channels(self.reader.read(record), self.image_format)
            utils.check_image_size(output, image)
            if not self.is_train:
                inputs = T.AugInput(image)
                self.augmentations(inputs)
                output["image"] = _to_tensor(inputs.image)
                if self.vocabulary is not None:
                    output["vocabulary"] = self.vocabulary
                return output
            annotation, tasks = read_annotation(record, image.shape[:2], self.ignore_label)
            output["task"] = self._pick_task(tasks, record)
            output["image"], output["instances"] = self._augment(image, annotation, output["task"])
        self._check_classes(record, output["instances"].gt_classes)
        return output

    def _check_classes(self, record: Mapping[str, Any], classes: Tensor) -> None:
        """Refuses what would be taught as "no object", or as nothing that is."""
        largest = int(classes.max()) if len(classes) else 0
        if self.num_classes is not None and largest >= self.num_classes:
            raise ValueError(
                f"the annotation of {record['file_name']} has class {largest}, but the "
                f"{self.num_classes} classes are numbered 0 to {self.num_classes - 1}"
            )

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

    def _pick_task(self, possible: Sequence[str], record: Mapping[str, Any]) -> str:
        if self.task == "random":
            weights = [
                weight if task in possible else 0.0
                for task, weight in zip(JUDGED_TASKS, self.task_probabilities)
            ]
            return random.choices(JUDGED_TASKS, weights)[0]
        task = self.task if self.task != PER_BATCH else self.batch_tasks.draw(record)  # type: ignore[union-attr]
        if task not in possible:
            raise ValueError(
                f"{record['file_name']} has only semantic ground truth, which gives no "
                f"{task} targets"
            )
        return task


for _name in PUBLISHED_MAPPERS:
    MAPPER_REGISTRY._do_register(_name, SegmentationMapper)

_ANNOTATION_KEYS = frozenset(
    {
        "annotations",
        "pan_seg_file_name",
        "segments_info",
        "sem_seg_file_name",
        "seed",
        STUFF_KEY,
        IGNORED_KEY,
        IGNORED_PIXELS_KEY,
        LABELS_KEY,
    }
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
        jitter = LargeScaleJitter(
            cfg.INPUT.IMAGE_SIZE, cfg.INPUT.MIN_SCALE, cfg.INPUT.MAX_SCALE, cfg.INPUT.BASE_SIZE
        )
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


def shared_ignore_label(dataset_names: Sequence[str]) -> int:
    """The training sets' ignore_label; sets without one (instances) have Detectron2's usual 255."""
    labels = {ignore_label_of(name) for name in dataset_names}
    if len(labels) > 1:
        raise ValueError(f"training sets have different ignore labels: {sorted(labels)}")
    return labels.pop() if labels else IGNORE_LABEL


def _round_up(side: int, divisor: int) -> int:
    return side if divisor <= 0 else -(-side // divisor) * divisor


def _to_tensor(image: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # [3, H, W]

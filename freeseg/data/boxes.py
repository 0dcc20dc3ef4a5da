"""The mapper of boxes: what detectors learn, with the caption of an image where there is one.

Shapes: N boxes, H W size of the augmented image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from detectron2.config import configurable
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances
from freeseg.config import completed
from freeseg.data.augmentation import RandomColorSSD, build_flip
from freeseg.data.mapper import SegmentationMapper, seeded
from freeseg.data.mapper_registry import MAPPER_REGISTRY, Mapper
from freeseg.data.photos import PhotoReader
from freeseg.images import order_channels
from freeseg.structures import CAPTION_KEY, PHRASES_KEY, Task

NAME = "boxes"
LEAST_SIDE = 1.0  # pixels of a box; what a crop leaves of it may be less
SIDES = re.compile(r"\b(left|right)(most)?\b", re.IGNORECASE)

Record = dict[str, Any]


class BoxMapper:
    """Turns a record of instances or of panoptic segments into an image with boxes of things.

    A record with "caption" has "phrases" in every annotation: characters (first, behind) of it.
    Where a caption says left or right, the image is not mirrored. Seeds count as for
    `SegmentationMapper`.
    """

    @configurable
    def __init__(
        self,
        *,
        flips: Sequence[T.Augmentation],
        augmentations: Sequence[T.Augmentation],
        image_format: str,
        reader: PhotoReader | None = None,
    ) -> None:
        """Defines a mapper.

        Args:
            flips: Applied first.
            augmentations: Then these, in their order.
            image_format: Channel order, "RGB" or "BGR".
            reader: Reads the photos; None: as INPUT's defaults say.
        """
        self.flips, self.augmentations = list(flips), list(augmentations)
        self.image_format = image_format
        self.reader = reader or PhotoReader()

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        cfg = completed(cfg)
        node = cfg.INPUT
        crop = [T.RandomCrop(node.CROP.TYPE, node.CROP.SIZE)] if node.CROP.ENABLED else []
        resize = T.ResizeShortestEdge(
            node.MIN_SIZE_TRAIN, node.MAX_SIZE_TRAIN, node.MIN_SIZE_TRAIN_SAMPLING
        )
        color = [RandomColorSSD(node.FORMAT)] if node.COLOR_AUG_SSD else []
        return {
            "flips": build_flip(node.RANDOM_FLIP),
            "augmentations": [*crop, resize, *color],
            "image_format": node.FORMAT,
            "reader": PhotoReader.from_config(cfg),
        }

    def __call__(self, record: Mapping[str, Any]) -> Record:
        """Model input: image [3, H, W], "instances" with gt_classes and gt_boxes, what was said.

        Raises:
            ValueError: The record has no annotations, or an object no box.
        """
        listed = _objects(record)
        output = {key: value for key, value in record.items() if key not in _LEFT_OUT}
        with seeded(record.get("seed"), record.get("position")):
            image = order_channels(self.reader.read(record), self.image_format)
            utils.check_image_size(output, image)
            says_sides = SIDES.search(record.get(CAPTION_KEY) or "")
            steps = self.augmentations if says_sides else [*self.flips, *self.augmentations]
            inputs = T.AugInput(image)
            transforms = T.AugmentationList(steps)(inputs)
        height, width = inputs.image.shape[:2]
        rows = [row for row in listed if not row.get("iscrowd", 0)]
        boxes = Boxes(torch.from_numpy(transforms.apply_box(_corners(rows, record))).float())
        boxes.clip((height, width))
        kept = boxes.nonempty(LEAST_SIDE)
        instances = Instances((height, width))
        classes = torch.tensor([row["category_id"] for row in rows], dtype=torch.int64)
        instances.gt_classes, instances.gt_boxes = classes[kept], boxes[kept]
        output["task"], output["instances"] = Task.INSTANCE, instances
        output["image"] = torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1)))
        if any("phrases" in row for row in rows):
            output[CAPTION_KEY] = record[CAPTION_KEY]
            output[PHRASES_KEY] = tuple(
                tuple(map(tuple, row["phrases"])) for row, stays in zip(rows, kept) if stays
            )
        return output


def _objects(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a record's things, of its instance annotation or else of its panoptic one.

    Raises:
        ValueError: It has neither.
    """
    if "annotations" in record:
        return list(record["annotations"])
    if "segments_info" not in record:
        raise ValueError(
            f"{record['file_name']} has no boxes: INPUT.DATASET_MAPPER_NAME {NAME} reads "
            "instance or panoptic annotation"
        )
    mode = {"bbox_mode": BoxMode.XYWH_ABS}  # as COCO has it
    return [{**mode, **row} for row in record["segments_info"] if row.get("isthing", True)]


def _corners(rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> Any:
    """Boxes float64 [N, 4], xyxy in pixels."""
    for row in rows:
        if row.get("bbox") is None:
            raise ValueError(f"an object of {record['file_name']} has no box")
    boxes = [BoxMode.convert(row["bbox"], row["bbox_mode"], BoxMode.XYXY_ABS) for row in rows]
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def build_box_mapper(cfg: Any, is_train: bool) -> Mapper:
    """The mapper; test photos are those of every other."""
    return BoxMapper(cfg) if is_train else SegmentationMapper(cfg, False)


_LEFT_OUT = frozenset(
    {"annotations", "seed", CAPTION_KEY, "segments_info", "pan_seg_file_name", "sem_seg_file_name"}
)

MAPPER_REGISTRY._do_register(NAME, build_box_mapper)

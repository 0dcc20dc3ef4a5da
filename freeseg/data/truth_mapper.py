"""Test inputs with their ground truth, for evaluations that make prompts of it.

Shapes: N objects, H W photo size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from detectron2.data.transforms import NoOpTransform
from detectron2.structures import BitMasks, Instances
from freeseg.data.annotation_files import read_annotation, read_class_map, read_ignored_pixels
from freeseg.data.datasets.catalog import IGNORE_LABEL
from freeseg.data.mapper_registry import Mapper, Record
from freeseg.structures import JUDGED_TASKS


@dataclass(frozen=True)
class TruthMapper:
    """Adds what is annotated to the inputs of a test mapper, at the size of the photo.

    The image may have been resized; "instances" [N of H, W] and "sem_seg" [H, W] are not: prompts
    that are made of them, and results, are in photo pixels. So is "ignored", bool [H, W], where a
    record has pixels that are not judged.

    Attributes:
        mapper: Of test inputs; its outputs have the photo's "height" and "width".
        task: Whose targets "instances" are, with ``gt_classes``, ``gt_masks`` and ``gt_boxes``:
            things in "instance", one region per class in "semantic", segments in "panoptic".
        ignore_label: Void in "sem_seg", and in the semantic PNGs that are read.
    """

    mapper: Mapper
    task: str = "instance"
    ignore_label: int = IGNORE_LABEL

    def __post_init__(self) -> None:
        if self.task not in JUDGED_TASKS:
            raise ValueError(f"task must be one of {', '.join(JUDGED_TASKS)}, got {self.task!r}")

    def __call__(self, record: Mapping[str, Any]) -> Record:
        """The mapped record with its truth.

        Raises:
            ValueError: The annotation cannot give such targets, or is of another size; names it.
        """
        output = self.mapper(dict(record))
        size = (output["height"], output["width"])
        annotation, tasks = read_annotation(record, size, self.ignore_label)
        if self.task not in tasks:
            raise ValueError(
                f"{record['file_name']} has only semantic ground truth, which gives no "
                f"{self.task} targets"
            )
        classes, masks = annotation.apply(NoOpTransform(), size).targets(self.task)
        instances = Instances(size)
        instances.gt_classes = torch.from_numpy(classes)  # [N]
        instances.gt_masks = BitMasks(torch.from_numpy(masks))  # [N, H, W]
        instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
        if "sem_seg_file_name" in record:  # what semantic results are judged by
            labels = read_class_map(record, self.ignore_label)
        else:
            labels = annotation.class_map(self.ignore_label)
        sem_seg = torch.from_numpy(labels.astype(np.int64))  # [H, W]
        truth = {"instances": instances, "sem_seg": sem_seg}
        ignored = read_ignored_pixels(record, size)
        if ignored is not None:
            truth["ignored"] = torch.from_numpy(ignored)  # [H, W]
        return {**output, **truth}

"""Single annotated segments as samples: what FreeSeg's prompts are trained on.

Shapes: H W crop size.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from detectron2.config import configurable
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances
from freeseg.config import completed, training_tasks
from freeseg.data.annotation import Annotation, SegmentMasks, has_mask
from freeseg.data.annotation_files import (
    read_annotation,
    read_labels,
    read_segment_ids,
    read_stuff,
)
from freeseg.data.augmentation import random_part
from freeseg.data.datasets.catalog import STUFF_KEY
from freeseg.data.mapper import BatchTasks, SegmentationMapper, seeded, shared_ignore_label
from freeseg.data.mapper_registry import MAPPER_REGISTRY, Mapper
from freeseg.data.photos import PhotoReader
from freeseg.images import order_channels

SEGMENT_MAPPERS = ("mask_former_full_binary_semantic", "mask_former_binary_semantic")  # published

Record = dict[str, Any]
BoolMask = npt.NDArray[np.bool_]


def segment_records(
    records: Sequence[Record],
    tasks: Sequence[str],
    is_trained: Sequence[bool],
    per_class: int = -1,
    seed: int = 0,
    ignore_label: int = 255,
) -> list[Record]:
    """One record per place of a training epoch: for every task one segment.

    A segment is a record of one image whose annotation is cut down to the segment, and its class as
    "segment_class". The tasks may have different numbers of segments; those of the shorter lists
    come again. Semantic PNGs are read to know what is on them.

    Args:
        records: Of images, with any annotation that training reads.
        tasks: Among semantic, instance, panoptic.
        is_trained: One flag per class; segments of others are left out.
        per_class: Most segments of a class and task, drawn at random; negative: all.
        seed: Of the draw.
        ignore_label: Of semantic maps.

    Raises:
        ValueError: When a task has no segment, or a segment a class beyond the flags.
    """
    labels = labels_on_pngs(records, ignore_label)
    lists = []
    for task in tasks:
        by_class: dict[int, list[Record]] = {}
        for record, on_png in zip(records, labels):
            for segment in segments_of(record, task, on_png):
                label = segment["segment_class"]
                require_listed_class(record, label, len(is_trained))
                if is_trained[label]:
                    by_class.setdefault(label, []).append(segment)
        draw = random.Random(f"{seed} {task}")
        chosen = list(_draw_from_each(by_class, per_class, draw))
        if not chosen:
            raise ValueError(f"the training sets have no region for the task {task}")
        draw.shuffle(chosen)
        lists.append(chosen)
    length = max(map(len, lists))
    return [
        {task: segments[place % len(segments)] for task, segments in zip(tasks, lists)}
        for place in range(length)
    ]


def _draw_from_each(
    by_class: Mapping[int, list[Record]], per_class: int, draw: random.Random
) -> Iterator[Record]:
    for label in sorted(by_class):
        found = by_class[label]
        yield from found if per_class < 0 else draw.sample(found, min(per_class, len(found)))


def labels_on_pngs(records: Sequence[Record], ignore_label: int) -> list[list[int]]:
    """Of every record the classes that only a semantic PNG tells; `segments_of` asks for them."""
    with ThreadPoolExecutor() as pool:  # decoding leaves Python to other threads
        return list(pool.map(lambda record: _labels_on_png(record, ignore_label), records))


def require_listed_class(record: Record, label: int, num_classes: int) -> None:
    """Refuses a class of a record that is none of those that are listed."""
    if label >= num_classes:
        raise ValueError(
            f"the annotation of {record['file_name']} has class {label}, but the "
            f"{num_classes} classes are numbered 0 to {num_classes - 1}"
        )


def _labels_on_png(record: Record, ignore_label: int) -> list[int]:
    """Classes that only a semantic PNG tells: of a semantic map, or of stuff behind segments."""
    if STUFF_KEY in record:
        ids = read_segment_ids(record)
        is_void = ~np.isin(ids, [row["id"] for row in record["segments_info"]])
        labels = read_stuff(record, ids.shape, ignore_label)[is_void]
    elif "segments_info" in record or "annotations" in record:
        return []
    else:
        labels = read_labels(record, "sem_seg_file_name", ignore_label)
    return [label for label in np.unique(labels).tolist() if label != ignore_label]


def segments_of(record: Record, task: str, on_png: Sequence[int]) -> Iterable[Record]:
    """The segments of one image under a task, each a record of its own, see `segment_records`."""
    key = "segments_info" if "segments_info" in record else "annotations"
    if key not in record:
        labels = on_png if task == "semantic" else ()
        return [{**record, "segment_class": label} for label in labels]
    rows = record[key]
    if key == "annotations":
        rows = [row for row in rows if has_mask(row)]
    stuff = on_png if task != "instance" else ()
    if task == "semantic":
        classes = sorted({row["category_id"] for row in rows}.difference(stuff))
        groups = [
            (label, [row for row in rows if row["category_id"] == label]) for label in classes
        ]
    else:
        groups = [
            (row["category_id"], [row])
            for row in rows
            if not row.get("iscrowd", 0) and (task == "panoptic" or row.get("isthing", True))
        ]
    alone = {name: value for name, value in record.items() if name != STUFF_KEY}
    return [
        *({**alone, key: group, "segment_class": label} for label, group in groups),
        *({**record, "segment_class": label} for label in stuff),  # it lies where no segment does
    ]


class SegmentMapper:
    """Crops an image around one segment: the sample of the prompt stage."""

    @configurable
    def __init__(
        self,
        *,
        size: tuple[int, int],
        crop_area: tuple[float, float],
        tasks: BatchTasks,
        image_format: str,
        ignore_label: int = 255,
        reader: PhotoReader | None = None,
    ) -> None:
        """Defines a mapper.

        Args:
            size: (height, width) of a sample.
            crop_area: Least and largest share of a segment's box that a sample shows.
            tasks: Which task a batch has.
            image_format: Channel order, "RGB" or "BGR".
            ignore_label: Of semantic maps.
            reader: Reads the photos; None: as INPUT's defaults say.
        """
        self.size = size
        self.crop_area = crop_area
        self.tasks = tasks
        self.image_format = image_format
        self.ignore_label = ignore_label
        self.reader = reader or PhotoReader()

    @classmethod
    def from_config(cls, cfg: Any) -> dict[str, Any]:
        cfg = completed(cfg)
        sides = tuple(cfg.INPUT.MIN_SIZE_TRAIN)
        return {
            "size": sides if len(sides) == 2 else sides * 2,
            "crop_area": tuple(cfg.INPUT.REGION_CROP_AREA),
            "tasks": BatchTasks(training_tasks(cfg), cfg.SOLVER.IMS_PER_BATCH),
            "image_format": cfg.INPUT.FORMAT,
            "ignore_label": shared_ignore_label(cfg.DATASETS.TRAIN),
            "reader": PhotoReader.from_config(cfg),
        }

    def __call__(self, record: Mapping[str, Any]) -> Record:
        """Model input of a record of `segment_records` with "seed" and "position"."""
        task = self.tasks.draw(record)
        segment = record[task]
        with seeded(record["seed"], record["position"]):
            image = order_channels(self.reader.read(segment), self.image_format)
            annotation, _ = read_annotation(segment, image.shape[:2], self.ignore_label)
            view = _View(annotation, task, segment["segment_class"])
            try:
                transforms, mask = self._crop(view, image.shape[:2])
            except ValueError as error:
                raise ValueError(f"annotation of {segment['file_name']}: {error}") from error
            image = transforms.apply_image(image)
        instances = Instances(self.size)
        instances.gt_classes = torch.tensor([segment["segment_class"]])
        instances.gt_masks = BitMasks(torch.from_numpy(mask[None]))
        channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
        return {"image": torch.from_numpy(channels_first), "task": task, "instances": instances}

    def _crop(self, view: _View, size: tuple[int, int]) -> tuple[Any, BoolMask]:
        """A random crop of the segment's box that shows some of it, and the mask there [H, W]."""
        whole = view.mask(T.NoOpTransform(), size)
        if not whole.any():
            raise ValueError(f"the region of class {view.label} has no pixel")
        box = cv2.boundingRect(whole.view(np.uint8))  # left, top, width, height
        flip = np.random.rand() < 0.5
        for crop in (random_part(box, self.crop_area), box):
            left, top, width, height = crop
            steps: list[Any] = [
                T.CropTransform(left, top, width, height),
                T.ResizeTransform(height, width, *self.size),
            ]
            if flip:
                steps.append(T.HFlipTransform(self.size[1]))
            transforms = T.TransformList(steps)
            mask = view.mask(transforms, self.size)
            if mask.any():
                break
        return transforms, mask


def build_segment_mapper(cfg: Any, is_train: bool) -> Mapper:
    """The mapper of the prompt stage; its test photos are whole."""
    return SegmentMapper(cfg) if is_train else SegmentationMapper(cfg, False)


for _name in SEGMENT_MAPPERS:
    MAPPER_REGISTRY._do_register(_name, build_segment_mapper)


@dataclass(frozen=True)
class _View:
    """One segment of an annotation."""

    annotation: Annotation
    task: str
    label: int

    def mask(self, transforms: Any, size: tuple[int, int]) -> BoolMask:
        """Where the segment is [H, W] after `transforms`; nowhere if they cut it off."""
        segments: SegmentMasks = self.annotation.apply(transforms, size)
        classes, masks = segments.targets(self.task)
        found = masks[classes == self.label]
        return found.any(axis=0) if len(found) else np.zeros(size, dtype=bool)

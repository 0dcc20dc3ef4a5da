"""What an image is annotated with, and the masks it gives after an image transform.

Shapes: S annotated segments, N targets, H W image size (before or after the transform).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_codec

from freeseg.data.panoptic import IdMap, LabelMap
from freeseg.data.segmentation_code import as_runs, check_segmentation

BoolMasks = npt.NDArray[np.bool_]

NO_SEGMENT = 255  # void in an index map, in every channel; also what transforms pad maps with


@dataclass(frozen=True)
class Segment:
    """What is known about one annotated segment."""

    class_id: int
    is_thing: bool
    is_crowd: bool = False


@dataclass(frozen=True)
class SegmentMasks:
    """The segments of a (transformed) image with their masks."""

    segments: tuple[Segment, ...]  # S of them
    masks: BoolMasks  # [S, H, W], may overlap
    places: tuple[int, ...] | None = None  # of the segments in the annotation; None: 0 to S - 1

    def __post_init__(self) -> None:
        if len(self.segments) != len(self.masks):
            raise ValueError(f"{len(self.segments)} segments but {len(self.masks)} masks")
        if self.places is not None and len(self.places) != len(self.segments):
            raise ValueError(f"{len(self.segments)} segments but {len(self.places)} places")

    def targets(self, task: str) -> tuple[npt.NDArray[np.int64], BoolMasks]:
        """Classes [N] and masks [N, H, W] to be learned for a task; no empty mask, never void.

        Instances are the things, panoptic targets things and stuff, both without crowds.
        Semantic targets are one segment per class; a crowd belongs to its class's.
        """
        classes = np.array([segment.class_id for segment in self.segments], dtype=np.int64)
        masks = self.masks
        if task == "semantic":
            present = np.unique(classes)
            segments = [masks[classes == class_id].any(axis=0) for class_id in present.tolist()]
            masks = np.stack(segments) if segments else masks
            classes = present
        elif task in ("instance", "panoptic"):
            rows = self.rows(task)
            return classes[rows], masks[rows]
        else:
            raise ValueError(f"task must be semantic, instance or panoptic, got {task!r}")
        visible = masks.any(axis=(1, 2))
        return classes[visible], masks[visible]

    def rows(self, task: str) -> npt.NDArray[np.int64]:
        """Which segments [N] are targets of their own: the things, and stuff where "panoptic"."""
        wanted = [
            not segment.is_crowd and (task == "panoptic" or segment.is_thing)
            for segment in self.segments
        ]
        return np.flatnonzero(np.array(wanted, dtype=bool) & self.masks.any(axis=(1, 2)))


class Annotation(ABC):
    """The ground truth of one image, before any transform.

    Attributes:
        leaves_void: Whether pixels in no segment may be anything; else they are background.
    """

    leaves_void: bool

    @abstractmethod
    def apply(self, transforms: Any, size: tuple[int, int]) -> SegmentMasks:
        """Masks after Detectron2 `transforms`, whose output image has `size` (height, width)."""

    @abstractmethod
    def class_map(self, ignore_label: int) -> LabelMap:
        """Class of every pixel [H, W], in a dtype that Detectron2's transforms can resize."""


class SegmentMap(Annotation):
    """Disjoint segments: a panoptic annotation, or a semantic one with a segment per class.

    Ids are kept as an index into `segments` in one uint8 channel, or in three when there are 255
    segments or more: uint8 is what image transforms resize with the sampling of the image itself.
    """

    leaves_void = True

    def __init__(self, index: npt.NDArray[np.int64], segments: Sequence[Segment]) -> None:
        """Args: index [H, W] holds 0..S-1, or -1 for void."""
        self.segments = tuple(segments)
        if len(self.segments) < NO_SEGMENT:
            self._map = np.where(index < 0, NO_SEGMENT, index).astype(np.uint8)
        else:
            channels = np.stack([index & 255, (index >> 8) & 255, index >> 16], axis=-1)
            self._map = np.where(index[..., None] < 0, NO_SEGMENT, channels).astype(np.uint8)

    @classmethod
    def from_panoptic(cls, ids: IdMap, segments_info: Sequence[dict[str, Any]]) -> SegmentMap:
        """From an id map and Detectron2 segment dicts (contiguous "category_id", "isthing")."""
        segments = [
            Segment(
                int(row["category_id"]), bool(row.get("isthing", True)), bool(row.get("iscrowd", 0))
            )
            for row in segments_info
        ]
        position = {int(row["id"]): index for index, row in enumerate(segments_info)}
        return cls(_relabel(ids, position), segments)

    @classmethod
    def from_semantic(cls, labels: LabelMap, ignore_label: int) -> SegmentMap:
        """From a class map: one stuff segment per class."""
        present = [label for label in np.unique(labels).tolist() if label != ignore_label]
        position = {int(label): index for index, label in enumerate(present)}
        return cls(_relabel(labels, position), [Segment(label, False) for label in position])

    def with_stuff(self, labels: LabelMap, ignore_label: int) -> SegmentMap:
        """This map with one stuff segment per class of `labels` [H, W] where it was void."""
        index = self._decode(self._map)
        stuff = SegmentMap.from_semantic(np.where(index < 0, labels, ignore_label), ignore_label)
        behind = stuff._decode(stuff._map)
        merged = np.where(behind >= 0, behind + len(self.segments), index)
        return SegmentMap(merged, [*self.segments, *stuff.segments])

    def apply(self, transforms: Any, size: tuple[int, int]) -> SegmentMasks:
        index = self._decode(transforms.apply_segmentation(self._map))
        if index.shape != size:
            raise ValueError(f"the transformed image is {size} but its labels are {index.shape}")
        present = np.flatnonzero(np.bincount(index.ravel() + 1)[1:])  # without void
        masks = index[None] == present[:, None, None]  # [S, H, W]
        places = tuple(present.tolist())
        return SegmentMasks(tuple(self.segments[place] for place in places), masks, places)

    def class_map(self, ignore_label: int) -> LabelMap:
        classes = np.array([*(row.class_id for row in self.segments), ignore_label])
        labels = classes[self._decode(self._map)]  # index -1 takes the last entry
        return labels.astype(np.uint8 if classes.max() < 256 else np.float64)

    def _decode(self, coded: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        index = coded.astype(np.int64)
        if index.ndim == 3:
            index = index[..., 0] + (index[..., 1] << 8) + (index[..., 2] << 16)
            return np.where(coded.min(axis=-1) == NO_SEGMENT, -1, index)
        return np.where(index == NO_SEGMENT, -1, index)


class InstanceMasks(Annotation):
    """Instance annotation of a COCO JSON: polygons or run-length codes, which may overlap."""

    leaves_void = False

    def __init__(self, annotations: Sequence[dict[str, Any]], size: tuple[int, int]) -> None:
        """Args: annotations are Detectron2 dicts with "segmentation"; size is of the image."""
        self._size = size
        self._annotations = [row for row in annotations if has_mask(row)]
        for number, row in enumerate(self._annotations):
            try:
                check_segmentation(row["segmentation"], size)
            except ValueError as error:
                raise ValueError(f"mask {number} of {len(self._annotations)}: {error}") from error
        self.segments = tuple(
            Segment(int(row["category_id"]), True, bool(row.get("iscrowd", 0)))
            for row in self._annotations
        )

    def apply(self, transforms: Any, size: tuple[int, int]) -> SegmentMasks:
        # where the padding lies: a polygon may leave the image, its mask must not
        inside = transforms.apply_segmentation(np.zeros(self._size, dtype=np.uint8)) == 0
        masks = np.zeros((len(self.segments), *size), dtype=bool)
        for mask, row in zip(masks, self._annotations):
            mask[:] = inside & self._mask(row["segmentation"], transforms, size)
        return SegmentMasks(self.segments, masks)

    def class_map(self, ignore_label: int) -> LabelMap:
        largest = max([ignore_label, *(row.class_id for row in self.segments)])
        labels = np.full(self._size, ignore_label, np.uint8 if largest < 256 else np.float64)
        for segment, row in zip(self.segments, self._annotations):
            labels[_rasterise(row["segmentation"], self._size)] = segment.class_id
        return labels

    def _mask(self, segmentation: Any, transforms: Any, size: tuple[int, int]) -> BoolMasks:
        if isinstance(segmentation, list):
            # points are moved and drawn at the final size, which is finer than resizing a mask
            moved = [
                transforms.apply_coords(np.asarray(polygon, dtype=np.float64).reshape(-1, 2))
                for polygon in segmentation
            ]
            return _rasterise([polygon.ravel().tolist() for polygon in moved], size)
        mask = _rasterise(segmentation, self._size).astype(np.uint8)
        return transforms.apply_segmentation(mask) == 1


def has_mask(annotation: Mapping[str, Any]) -> bool:
    """Whether an object's row of a COCO JSON has more than a box."""
    segmentation = annotation.get("segmentation")
    return segmentation is not None and len(segmentation) > 0


def _rasterise(segmentation: Any, size: tuple[int, int]) -> BoolMasks:
    """Boolean mask [H, W] of polygons, a run-length code (compressed or not) or a mask."""
    if isinstance(segmentation, np.ndarray):
        return segmentation.astype(bool)
    if isinstance(segmentation, list):
        segmentation = [polygon for polygon in segmentation if len(polygon) >= 6]
        if not segmentation:
            return np.zeros(size, dtype=bool)
    return rle_codec.decode(as_runs(segmentation, size)).astype(bool)


def _relabel(labels: LabelMap, position: dict[int, int]) -> npt.NDArray[np.int64]:
    """Position of every pixel's label, -1 where it has none."""
    if not position:
        return np.full(labels.shape, -1, dtype=np.int64)
    known = np.array(sorted(position), dtype=np.int64)
    place = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    positions = np.array([position[int(label)] for label in known], dtype=np.int64)
    return np.where(known[place] == labels, positions[place], -1)

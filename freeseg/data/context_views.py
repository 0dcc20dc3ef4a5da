"""Views of annotated photos for in-context samples: what they show, by ids that views share.

Shapes: M objects, H W size of a view.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from freeseg.data.annotation import BoolMasks, SegmentMasks
from freeseg.data.annotation_files import read_annotation
from freeseg.data.mapper import seeded
from freeseg.data.photos import PhotoReader


@dataclass(frozen=True, eq=False)
class View:
    """An augmented photo, with what it shows.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        ids: int64 [M], ascending: what is one in several views. Of classes their labels, of
            instances their places in the photo's annotation.
        labels: int64 [M], their classes.
        masks: Bool [M, H, W], none empty.
        is_void: Bool [H, W], pixels without annotation.
    """

    image: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    masks: BoolMasks
    is_void: BoolMasks

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.labels) == len(self.masks):
            raise ValueError(
                f"{len(self.ids)} ids, {len(self.labels)} labels, {len(self.masks)} masks of a view"
            )

    def seen(self, least_area: float) -> set[int]:
        """Ids of what fills at least this share of the view."""
        shares = self.masks.mean(axis=(1, 2))
        return set(self.ids[shares >= least_area].tolist())

    def only(self, ids: Sequence[int]) -> View:
        """The view with these objects alone, in their order."""
        place = {one: row for row, one in enumerate(self.ids.tolist())}
        rows = np.array([place[one] for one in sorted(ids)], dtype=np.int64)
        return View(self.image, self.ids[rows], self.labels[rows], self.masks[rows], self.is_void)


def read_view(
    record: Mapping[str, Any],
    task: str,
    *,
    augmentations: T.AugmentationList,
    reader: PhotoReader,
    ignore_label: int,
) -> View:
    """A record's photo as its "seed" and "position" augment it.

    Args:
        record: Annotated, with these two.
        task: "semantic", a mask of every class, or "instance", one of every thing.
        augmentations: Geometry and colours; all views have one size then.
        reader: Of the photo.
        ignore_label: Of semantic maps.
    """
    image = reader.read(record)
    utils.check_image_size(dict(record), image)
    annotation, _ = read_annotation(record, image.shape[:2], ignore_label)
    with seeded(record["seed"], record["position"]):
        inputs = T.AugInput(image)
        transforms = augmentations(inputs)
    shown = annotation.apply(transforms, inputs.image.shape[:2])
    is_void = np.logical_and(~shown.masks.any(axis=0), annotation.leaves_void)
    if task == "instance":
        ids, labels, masks = _instances(shown)
        is_void |= _crowds(shown)
    else:
        labels, masks = shown.targets(task)
        ids = labels
    return View(inputs.image, ids, labels, masks, np.logical_and(is_void, ~masks.any(axis=0)))


def _instances(
    shown: SegmentMasks,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], BoolMasks]:
    rows = shown.rows("instance")
    places = np.arange(len(shown.segments)) if shown.places is None else np.array(shown.places)
    labels, masks = shown.targets("instance")
    return places[rows].astype(np.int64), labels, masks


def _crowds(shown: SegmentMasks) -> BoolMasks:
    """Bool [H, W]: where there are objects that nobody told apart."""
    is_crowd = np.array([segment.is_crowd for segment in shown.segments], dtype=bool)
    return shown.masks[is_crowd].any(axis=0)


def in_grid(views: Sequence[View]) -> View:
    """A square number of views side by side, row by row; what has one id is one object."""
    across = math.isqrt(len(views))
    height, width = views[0].image.shape[:2]
    image = np.zeros((across * height, across * width, 3), dtype=np.uint8)
    is_void = np.zeros(image.shape[:2], dtype=bool)
    label_of = {
        one: label
        for view in views
        for one, label in zip(view.ids.tolist(), view.labels.tolist())
    }  # fmt: skip
    ids = sorted(label_of)
    masks = np.zeros((len(ids), *image.shape[:2]), dtype=bool)
    for number, view in enumerate(views):
        top, left = (place * side for place, side in zip(divmod(number, across), (height, width)))
        rows, columns = slice(top, top + height), slice(left, left + width)
        image[rows, columns], is_void[rows, columns] = view.image, view.is_void
        masks[np.searchsorted(ids, view.ids), rows, columns] = view.masks
    return View(
        image, np.array(ids, np.int64), np.array([label_of[one] for one in ids], np.int64),
        masks, is_void,
    )  # fmt: skip


def cropped(view: View, crop: T.Augmentation) -> View:
    """What an augmentation of geometry leaves of a view."""
    transforms = crop.get_transform(view.image)

    def moved(plane: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return transforms.apply_segmentation(plane.astype(np.uint8)) == 1

    is_void = moved(view.is_void)
    masks = np.zeros((len(view.masks), *is_void.shape), dtype=bool)
    for row, mask in enumerate(view.masks):
        masks[row] = moved(mask)
    shown = masks.any(axis=(1, 2))
    image = transforms.apply_image(view.image)
    return View(image, view.ids[shown], view.labels[shown], masks[shown], is_void)

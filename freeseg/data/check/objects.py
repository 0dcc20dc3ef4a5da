"""Objects of a dataset: masks that can be drawn, classes that occur, what is left to learn.

Shapes: K classes, H W image size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pycocotools import mask as rle_codec

from detectron2.structures import BoxMode
from freeseg.classes import shown
from freeseg.data.datasets.json_rows import read_field
from freeseg.data.problems import Problems
from freeseg.data.records import photo_of
from freeseg.data.segmentation_code import as_runs, drawable
from freeseg.structures import Vocabulary

Record = Mapping[str, Any]


LEAST_OVERLAP = 0.5  # IoU of an object's box and of the one around its mask


@dataclass
class ObjectCounts:
    """What the annotation of a dataset holds.

    Attributes:
        name: Of the dataset.
        objects: Annotated objects or segments.
        crowds: Those of them that are crowds.
        without_mask: Objects that have none.
        without_pixel: Where objects are whose mask has no pixel in the photo.
        elsewhere: Where objects are whose mask lies elsewhere than their box.
        of_class: Objects that can be learned, by class.
        most: Objects that can be learned in the fullest photo, and its file.
    """

    name: str = ""
    objects: int = 0
    crowds: int = 0
    without_mask: int = 0
    without_pixel: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    of_class: Counter[int] = field(default_factory=Counter)
    most: tuple[int, str] = (0, "")


def count_objects(
    name: str,
    records: Sequence[Record],
    num_classes: int,
    problems: Problems,
    *,
    needs_masks: bool = True,
) -> ObjectCounts:
    """Counts the objects and segments of a dataset, and collects those that have no meaning.

    Args:
        name: Of the dataset, for messages.
        records: Of it.
        num_classes: That it lists.
        problems: Gets what is wrong.
        needs_masks: False: a box is enough for an object to be learned and judged.
    """
    counts = ObjectCounts(name)
    collecting = problems.collecting("objects")
    for record in records:
        before, photo = sum(counts.of_class.values()), photo_of(record)
        for number, row in enumerate(record.get("annotations", record.get("segments_info", ()))):
            counts.objects += 1
            with collecting:
                where = f"object {number} of {photo}"
                _check_fields(name, where, row, num_classes)
                has_box = not needs_masks and row.get("bbox") is not None
                is_segment = "annotations" not in record
                if is_segment or has_box or _has_pixels(record, row, where, counts):
                    _count(row, counts)
        here = sum(counts.of_class.values()) - before
        counts.most = max(counts.most, (here, photo))
    return counts


def _check_fields(name: str, where: str, row: Mapping[str, Any], num_classes: int) -> None:
    """Refuses an object of no class, of no flag, or with a box that cannot be read.

    Raises:
        ValueError: Says which.
    """
    label = row.get("category_id")
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < num_classes:
        raise ValueError(
            f"{name}: {where} has the category_id {label!r}, wanted a class number from 0 to "
            f"{num_classes - 1}"
        )
    if "iscrowd" in row:
        read_field(row, "iscrowd", bool, f"{name}: {where}")
    box = row.get("bbox")
    if box is None:
        return
    if not isinstance(box, (list, tuple)) or len(box) != 4:
        raise ValueError(f"{name}: {where} has the bbox {box!r:.60}, wanted four numbers or none")
    mode = row.get("bbox_mode", BoxMode.XYXY_ABS)
    if mode not in (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS):
        raise ValueError(
            f"{name}: {where} has the bbox_mode {mode!r}, wanted XYXY_ABS or XYWH_ABS of BoxMode"
        )


def _count(row: Mapping[str, Any], counts: ObjectCounts) -> None:
    if row.get("iscrowd", 0):
        counts.crowds += 1
    else:
        counts.of_class[row["category_id"]] += 1


def _has_pixels(record: Record, row: Mapping[str, Any], where: str, counts: ObjectCounts) -> bool:
    """Whether an object has a mask with a pixel in the photo; counts it where it has none.

    Raises:
        ValueError: The mask cannot be drawn.
    """
    size = record.get("height"), record.get("width")
    if None in size:  # the photo cannot be read, which is said of it
        return row.get("segmentation") is not None
    try:
        mask = drawable(row.get("segmentation"), size)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{counts.name}: {where}: {error}") from error
    if mask is None:
        counts.without_mask += 1
        return False
    runs = as_runs(mask, size)  # type: ignore[arg-type]
    if not rle_codec.area(runs):
        counts.without_pixel.append(where)
        return False
    if row.get("bbox") is not None and _lies_elsewhere(row, rle_codec.toBbox(runs)):
        counts.elsewhere.append(where)
    return True


def _lies_elsewhere(row: Mapping[str, Any], around: Sequence[float]) -> bool:
    mode = row.get("bbox_mode", BoxMode.XYXY_ABS)
    x, y, width, height = (float(v) for v in BoxMode.convert(row["bbox"], mode, BoxMode.XYWH_ABS))
    left, top, wide, high = (float(side) for side in around)
    across = min(x + width, left + wide) - max(x, left)
    down = min(y + height, top + high) - max(y, top)
    shared = max(0.0, across) * max(0.0, down)
    return shared < LEAST_OVERLAP * (width * height + wide * high - shared)


def check_objects(
    name: str, counts: ObjectCounts, classes: Vocabulary, problems: Problems, *, is_train: bool
) -> None:
    """Says what of the objects cannot be learned, and refuses a set of which nothing can.

    Args:
        name: Of the dataset, for messages.
        counts: Of its objects.
        classes: That it lists.
        problems: Gets what is wrong.
        is_train: Whether it is trained on.
    """
    if counts.without_mask:
        use = (
            "not learned, and their pixels count as background"
            if is_train
            else "not judged, nor is what is found there"
        )
        problems.warn(
            "objects without a mask",
            f"{name}: {counts.without_mask} of {counts.objects} objects have no mask (no "
            f"segmentation, or no polygon of three points): they are {use}",
        )
    if counts.without_pixel:
        problems.warn(
            "masks without a pixel",
            f"{name}: the masks of {len(counts.without_pixel)} of {counts.objects} objects have no "
            f"pixel in the photo, such as {counts.without_pixel[0]}: left out (are coordinates "
            "shares of the size, or of another size?)",
        )
    if counts.elsewhere:
        problems.warn(
            "masks elsewhere than their boxes",
            f"{name}: the masks of {len(counts.elsewhere)} of {counts.objects} objects lie "
            f"elsewhere than their bbox, such as {counts.elsewhere[0]}: masks count (are runs by "
            "rows, x and y exchanged, or is the size another?)",
        )
    left = sum(counts.of_class.values())
    if counts.objects and not left:
        cause = "have no mask (segmentation), or none with a pixel in the photo"
        if counts.crowds:
            cause = "are crowds (iscrowd 1), which are no targets"
            if counts.without_mask:
                cause = "are crowds (iscrowd 1) or have no mask (segmentation)"
        problems.error(
            "nothing is left", f"{name}: all {counts.objects} objects {cause}: nothing is left"
        )
    elif not counts.objects:
        problems.error("nothing is left", f"{name}: no photo has an object")
    elif is_train:
        unused = [each for label, each in enumerate(classes.names) if not counts.of_class[label]]
        if unused:
            problems.warn(
                "classes without objects",
                f"{name}: no object of {len(unused)} of {len(classes)} classes: {shown(unused)}",
            )

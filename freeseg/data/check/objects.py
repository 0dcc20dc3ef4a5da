"""Objects of a dataset: masks that can be drawn, classes that occur, what is left to learn.

Shapes: K classes, H W image size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from freeseg.classes import shown
from freeseg.data.problems import Problems
from freeseg.data.records import photo_of
from freeseg.data.segmentation_code import drawable
from freeseg.structures import Vocabulary

Record = Mapping[str, Any]


@dataclass
class ObjectCounts:
    """What the annotation of a dataset holds.

    Attributes:
        objects: Annotated objects or segments.
        crowds: Those of them that are crowds.
        without_mask: Objects that have none.
        of_class: Objects that can be learned, by class.
        most: Objects that can be learned in the fullest photo, and its file.
    """

    objects: int = 0
    crowds: int = 0
    without_mask: int = 0
    of_class: Counter[int] = field(default_factory=Counter)
    most: tuple[int, str] = (0, "")


def count_objects(
    name: str, records: Sequence[Record], num_classes: int, problems: Problems
) -> ObjectCounts:
    """Counts the objects and segments of a dataset, and collects those that have no meaning."""
    counts = ObjectCounts()
    collecting = problems.collecting("objects")
    for record in records:
        here, photo = 0, photo_of(record)
        for number, row in enumerate(record.get("annotations", record.get("segments_info", ()))):
            counts.objects += 1
            with collecting:
                where = f"{name}: object {number} of {photo}"
                if not _has_mask(record, row, num_classes, where):
                    counts.without_mask += 1
                elif row.get("iscrowd", 0):
                    counts.crowds += 1
                else:
                    counts.of_class[row["category_id"]] += 1
                    here += 1
        counts.most = max(counts.most, (here, photo))
    return counts


def _has_mask(record: Record, row: Mapping[str, Any], num_classes: int, where: str) -> bool:
    """Whether an object has a mask; a panoptic segment has its pixels.

    Raises:
        ValueError: It is of no class, or its mask cannot be drawn.
    """
    label = row.get("category_id")
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < num_classes:
        raise ValueError(
            f"{where} has the category_id {label!r}, wanted a class number from 0 to "
            f"{num_classes - 1}"
        )
    if "segments_info" in record:
        return True
    size = record.get("height"), record.get("width")
    mask = row.get("segmentation")
    try:
        if None in size and not isinstance(mask, list):
            return mask is not None
        return drawable(mask, size) is not None  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


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
        use = "not learned, and their pixels count as background" if is_train else "not judged"
        problems.warn(
            "objects without a mask",
            f"{name}: {counts.without_mask} of {counts.objects} objects have no mask (no "
            f"segmentation, or no polygon of three points): they are {use}",
        )
    left = sum(counts.of_class.values())
    if counts.objects and not left:
        cause = "have no mask (segmentation)"
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

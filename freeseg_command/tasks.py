"""The tasks of image segmentation."""

from __future__ import annotations

from enum import Enum


class Task(str, Enum):
    """What is asked of a system; equal to its plain string.

    Every pixel has a class ("semantic"), every thing a mask ("instance"), both ("panoptic"), or
    masks of what a prompt points at ("object"), with or without classes.
    """

    SEMANTIC = "semantic"
    INSTANCE = "instance"
    PANOPTIC = "panoptic"
    OBJECT = "object"

    __str__ = str.__str__
    __repr__ = str.__repr__
    __format__ = str.__format__  # type: ignore[assignment]

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"wanted a task among {', '.join(cls)}, got {value!r}")


# the tasks of class lists, in the order in which results are shown: a user's default comes first
SHOWN_TASKS = (Task.PANOPTIC, Task.INSTANCE, Task.SEMANTIC)
# of which every segment has a mask and a score of its own
SCORED_TASKS = (Task.INSTANCE, Task.OBJECT)
# those of class lists, in the order in which they are trained and judged
JUDGED_TASKS = (Task.SEMANTIC, Task.INSTANCE, Task.PANOPTIC)

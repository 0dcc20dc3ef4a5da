"""The segmentation of one photo as plain arrays with names.

Shapes: H W photo size, N instances, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from freeseg.images import RgbImage
from freeseg.structures import (
    InstanceSet,
    Marks,
    PanopticMap,
    Runs,
    SegmentationResult,
    Vocabulary,
    read_output,
)
from freeseg.visualization.stored_masks import Masks, StoredMasks
from freeseg_command.tasks import SHOWN_TASKS, Task

UNSURE = "unsure: unlike the photos it learned from"
Self = TypeVar("Self", bound="PhotoResult")


@dataclass(frozen=True)
class NamedSegment:
    """One segment of a panoptic map.

    Attributes:
        id: Value in the map, from 1.
        label: Contiguous class id.
        name: Class name.
        is_thing: Whether the class is countable.
        score: Class probability, or None where the model gives none.
        area: Pixels.
    """

    id: int
    label: int
    name: str
    is_thing: bool
    score: float | None
    area: int


@dataclass(frozen=True)
class PanopticSegments:
    """Every pixel in at most one segment; unpacks as ``segment_ids, segments``."""

    segment_ids: npt.NDArray[np.int32]  # [H, W], 0 is unassigned
    segments: tuple[NamedSegment, ...]

    def __iter__(self) -> Any:
        return iter((self.segment_ids, self.segments))


@dataclass(frozen=True)
class Instances:
    """Scored, possibly overlapping masks; all that the model returned, however unlikely.

    Of what a prompt points at, `owners` are the rows of the prompt that each answers, `choices` are
    0 for an answer and from 1 on for other readings of it, and `qualities` what the system itself
    says of its masks. Of all there is in a photo, `stabilities` are how little each mask depends on
    where its logits are cut, `points` what it was found by, `windows` the part of the photo. Where
    masks were looked for in boxes, `asked_boxes` are these.
    """

    masks: Masks | None  # [N, H, W]; of all there is each is made when asked for; None: boxes alone
    boxes: npt.NDArray[np.float32]  # [N, 4], xyxy pixels
    labels: npt.NDArray[np.int64]  # [N]
    names: tuple[str, ...]
    scores: npt.NDArray[np.float32]  # [N], in [0, 1]
    qualities: npt.NDArray[np.float32] | None = None  # [N]
    owners: npt.NDArray[np.int64] | None = None  # [N]
    choices: npt.NDArray[np.int64] | None = None  # [N]
    stabilities: npt.NDArray[np.float32] | None = None  # [N], in [0, 1]
    points: npt.NDArray[np.float64] | None = None  # [N, 2], (x, y) pixels
    windows: npt.NDArray[np.int64] | None = None  # [N, 4], xyxy pixels
    asked_boxes: npt.NDArray[np.float32] | None = None  # [N, 4], xyxy pixels

    def __len__(self) -> int:
        return len(self.names)

    def area(self, index: int) -> int:
        """Pixels of a mask or, where there is none, of a box."""
        if self.masks is not None:
            return int(np.count_nonzero(self.masks[index]))
        left, top, right, bottom = self.boxes[index].tolist()
        return round((right - left) * (bottom - top))


@dataclass(frozen=True)
class PhotoResult:
    """The segmentation of one photo; tasks that were not asked for are None.

    Attributes:
        image: The photo as it was segmented: upright RGB, uint8 [H, W, 3].
        vocabulary: Class names and thing flags; a label is a position in it.
        category_ids: The dataset's own id of every class, as the COCO files name it.
        semantic: Class of every pixel, int64 [H, W].
        panoptic: Segment ids and what they are.
        instances: Masks with classes and scores.
        file_name: Name of the photo's file, which the COCO files give; None where it has none.
        knows: The photos that the model has learned from, in a few words; "" where nobody says.
        certainty: How far the model knows what it sees, in [0, 1]; None where it was not asked.
        unsure_below: The least certainty of photos that are like those that it knows.
        objects: What a prompt points at, as instances.
    """

    image: RgbImage
    vocabulary: Vocabulary
    category_ids: tuple[int, ...]
    semantic: npt.NDArray[np.int64] | None = None
    panoptic: PanopticSegments | None = None
    instances: Instances | None = None
    file_name: str | None = None
    knows: str = ""
    certainty: float | None = None
    unsure_below: float = 0.0
    objects: Instances | None = None

    def __post_init__(self) -> None:
        if len(self.category_ids) != len(self.vocabulary):
            raise ValueError(
                f"wanted one category id per class, got {len(self.category_ids)} ids "
                f"and {len(self.vocabulary)} classes"
            )
        maps: dict[str, Any] = {
            "semantic": self.semantic,
            "panoptic": self.panoptic.segment_ids if self.panoptic else None,
            **{f"{task}s": found.masks for task, found in self.scored.items()},
        }
        for name, array in maps.items():
            if array is not None and array.shape[-2:] != self.image.shape[:2]:
                raise ValueError(
                    f"the {name} result of size {array.shape[-2:]} does not belong to a photo "
                    f"of size {self.image.shape[:2]}"
                )

    @classmethod
    def from_result(
        cls: type[Self],
        image: RgbImage,
        result: SegmentationResult,
        vocabulary: Vocabulary,
        category_ids: tuple[int, ...] | None = None,
        file_name: str | None = None,
        **about_model: Any,
    ) -> Self:
        """Arrays of a model's result for one image, on the photo's grid.

        `about_model` is `knows` and `unsure_below`.
        """
        return cls(
            image,
            vocabulary,
            tuple(range(len(vocabulary))) if category_ids is None else category_ids,
            semantic=None if result.semantic is None else result.semantic.best().cpu().numpy(),
            panoptic=_read_panoptic(result.panoptic, vocabulary),
            instances=_read_instances(result.instances, vocabulary),
            objects=_read_instances(result.objects, vocabulary),
            file_name=file_name,
            certainty=result.certainty,
            **about_model,
        )

    @classmethod
    def from_detectron2(
        cls: type[Self],
        image: RgbImage,
        output: Mapping[str, Any],
        vocabulary: Vocabulary,
        category_ids: tuple[int, ...] | None = None,
        file_name: str | None = None,
        **about_model: Any,
    ) -> Self:
        """The same of any Detectron2 model's output for one image."""
        result = read_output(output)
        return cls.from_result(image, result, vocabulary, category_ids, file_name, **about_model)

    @property
    def marks(self) -> Marks | None:
        """What was pointed at, in pixels of the photo; None where nothing was."""
        return None

    @property
    def is_unsure(self) -> bool:
        """Whether the photo is unlike those that the model has learned from."""
        return self.certainty is not None and self.certainty < self.unsure_below

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the result should know, a line each: nothing, or up to two."""
        known = (f"the model knows {self.knows}",) if self.knows else ()
        return (*known, UNSURE) if self.is_unsure else known

    @property
    def scored(self) -> dict[Task, Instances]:
        """The results of scored masks, by task."""
        results = {Task.INSTANCE: self.instances, Task.OBJECT: self.objects}
        return {task: found for task, found in results.items() if found is not None}

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have a result."""
        results = (self.panoptic, self.instances, self.semantic, self.objects)
        known = (*SHOWN_TASKS, Task.OBJECT)
        return tuple(task for task, result in zip(known, results) if result is not None)

    def require(self, task: str | None) -> str:
        """Returns the task if it has a result, the first one that has when None."""
        if task is None and self.tasks:
            return self.tasks[0]
        if task is None or task not in set(Task):
            raise ValueError(f"wanted one of the tasks {', '.join(Task)}, got {task!r}")
        if task not in self.tasks:
            raise ValueError(
                f"the photo was not segmented for the task {task!r}, "
                f"only for {', '.join(self.tasks) or 'none'}"
            )
        return task


def _read_panoptic(found: PanopticMap | None, vocabulary: Vocabulary) -> PanopticSegments | None:
    if found is None:
        return None
    segments = [
        NamedSegment(
            id=one.id,
            label=one.category_id,
            name=vocabulary.names[one.category_id],
            is_thing=one.isthing,
            score=one.score,
            area=one.area,
        )
        for one in found.segments
    ]
    return PanopticSegments(found.segment_ids.cpu().numpy().astype(np.int32), tuple(segments))


def _read_instances(found: InstanceSet | None, vocabulary: Vocabulary) -> Instances | None:
    if found is None:
        return None
    masks: Masks | None = None
    if isinstance(found.masks, Runs):
        masks = StoredMasks(found.masks)
    elif found.masks is not None:
        masks = found.masks.cpu().numpy().astype(np.bool_, copy=False)
    count = len(found)
    labels = _array(found.labels, np.int64)
    if labels is None:  # the one class of a list that has no more
        labels = np.zeros(count, dtype=np.int64)
    return Instances(
        masks=masks,
        boxes=found.boxes.cpu().numpy().astype(np.float32),
        labels=labels,
        names=tuple(vocabulary.names[label] for label in labels),
        scores=found.scores.cpu().numpy().astype(np.float32),
        qualities=_array(found.qualities, np.float32),
        owners=_array(found.owners, np.int64),
        choices=_array(found.choices, np.int64),
        stabilities=_array(found.stabilities, np.float32),
        points=_array(found.points, np.float64),
        windows=_array(found.windows, np.int64),
        asked_boxes=_array(found.asked_boxes, np.float32),
    )


def _array(values: Tensor | None, kind: Any) -> Any:
    return None if values is None else values.cpu().numpy().astype(kind)

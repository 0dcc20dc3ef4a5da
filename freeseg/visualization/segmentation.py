"""The segmentation of one photo as a user meets it: arrays, names, pictures, files.

Shapes: H W photo size.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from freeseg.images import RgbImage
from freeseg.structures import Marks, Prompt
from freeseg.visualization.export import (
    coco_content,
    png_bytes,
    save_segmentation,
)
from freeseg.visualization.masks import masks_of, number_map, rle_rows, supervision_detections
from freeseg.visualization.overlay import draw_labels, draw_overlay, draw_picture
from freeseg.visualization.photo_result import Instances, PhotoResult
from freeseg.visualization.stored_masks import Masks


@dataclass(frozen=True, eq=False)
class Answer:
    """What a session was asked by marks, and what a refinement goes on from.

    Attributes:
        prompt: What was said.
        logits: Mask logits [N, h, w] of the answers to its rows, as the system decoded them, NaN
            where a row has none; None where the system keeps none.
        previous: What was refined; None of a first answer.
    """

    prompt: Prompt
    logits: Tensor | None
    previous: Segmentation | None


@dataclass(frozen=True)
class Segmentation(PhotoResult):
    """The segmentation of one photo, which can be drawn and saved; fields as in `PhotoResult`.

    `answer` is there where marks were asked about; it goes into no file.

    `masks`, `labels`, `names` and `scores` are of the first task that has a result; `segments` has
    any other's. In a notebook it shows itself.
    """

    answer: Answer | None = field(default=None, repr=False, compare=False)

    @property
    def marks(self) -> Marks | None:
        """What was pointed at."""
        return None if self.answer is None else self.answer.prompt.marks

    @property
    def previous(self) -> Segmentation | None:
        """What this one refines."""
        return None if self.answer is None else self.answer.previous

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        tasks = ", ".join(self.tasks) or "no task"
        about = "; ".join([f"{len(self.vocabulary)} classes", *self.remarks])
        return f"Segmentation({width}x{height} pixels, {tasks}, {about})"

    def segments(self, task: str | None = None) -> Instances:
        """Returns one task's segments as masks with boxes, labels, names and scores.

        Args:
            task: "panoptic", "instance" or "semantic"; the first that has a result when None.
        """
        return masks_of(self, self.require(task))

    @cached_property
    def _first(self) -> Instances:
        """Of the first task that has a result: all masks are built once for the four below."""
        return self.segments()

    @property
    def masks(self) -> Masks | None:
        """Masks [N, H, W] of the segments; None where there are boxes alone."""
        return self._first.masks

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class ids [N] of the segments: positions in `vocabulary`."""
        return self._first.labels

    @property
    def names(self) -> tuple[str, ...]:
        """Class names of the segments."""
        return self._first.names

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        """Scores [N] of the segments, in [0, 1]; NaN where the model gives none."""
        return self._first.scores

    def overlay(self, task: str | None = None, *, min_score: float = 0.5) -> RgbImage:
        """Returns the photo with one task's segments drawn in and a legend beside it.

        The photo stays in the top left corner; small ones are enlarged by a whole factor first.

        Args:
            task: "panoptic", "instance" or "semantic"; the first that has a result when None.
            min_score: Instances below are not drawn.
        """
        return draw_overlay(self, self.require(task), min_score)

    def picture(self, task: str | None = None, *, min_score: float = 0.5) -> RgbImage:
        """Returns the photo [H, W, 3] with one task's segments drawn in, without a legend."""
        return draw_picture(self, self.require(task), min_score)

    def label_picture(self, task: str | None = None) -> RgbImage:
        """Returns a picture [H, W, 3] in which every segment is filled with its colour."""
        return draw_labels(self, self.require(task))

    def number_map(self, task: str | None = None) -> npt.NDArray[np.int32]:
        """Returns which segment every pixel shows, int32 [H, W]: from 1, in their order; 0: none.

        Where segments overlap, the smaller one is on top.
        """
        return number_map(self.segments(task))

    def to_coco(self, image_id: int | str = 1, file_name: str | None = None) -> dict[str, Any]:
        """Returns COCO's JSON: "panoptic" as a whole file, "instances" as a list of results.

        Args:
            image_id: What the annotations call the image.
            file_name: Name of the photo, "image.png" where it is not known; the panoptic PNG is
                named after it.
        """
        name = file_name or self.file_name or "image.png"
        return coco_content(self, image_id, name, Path(name).stem)

    def to_rle(self, task: str | None = None) -> list[dict[str, Any]]:
        """Returns a JSON row per segment: label, name, score, area, bbox, run-length mask."""
        return rle_rows(self.segments(task))

    def to_supervision(self, task: str | None = None) -> Any:
        """Returns roboflow supervision's `Detections`; needs that package."""
        return supervision_detections(self.segments(task))

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return png_bytes(self.overlay())

    def save(
        self,
        folder: str | os.PathLike[str],
        stem: str = "photo",
        *,
        image_id: int | str = 1,
        min_score: float = 0.5,
        formats: str | Sequence[str] | None = None,
    ) -> dict[str, Path]:
        """Writes every result into a folder and returns the paths by what they hold.

        Args:
            folder: Made where it does not exist.
            stem: What every file name begins with; COCO files call a photo without a file STEM.png.
            image_id: What the COCO files call the image.
            min_score: Instances below are not drawn into the overlay; the JSON has them all.
            formats: Some of "overlay", "labelmap", "coco", "rle" and "html" (a page to look around
                in), as a list or with commas; those of the first three that its tasks have when
                None.

        Raises:
            ValueError: There is no such format, or it holds nothing of the tasks.
        """
        return save_segmentation(self, Path(folder), stem, image_id, min_score, formats)

"""One photo of an evaluation: its true objects, and a system that has encoded it.

Shapes: N objects, R results, H W photo size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from freeseg.images import RgbImage, read_image
from freeseg.inference.everything import select_instances
from freeseg.inference.zoom import zoom
from freeseg.ops import mask_areas
from freeseg.structures import (
    ImageFeatures,
    InstanceSet,
    Marks,
    Prompt,
    Request,
    Runs,
    Task,
    Wants,
    Window,
    read_frame,
)
from freeseg.systems import SegmentationSystem

IGNORED = "ignored"  # of a test input with truth, see `TruthMapper`


@dataclass(frozen=True, eq=False)
class TrueObjects:
    """What is annotated in a photo, as far as a pixel of it is judged.

    Attributes:
        masks: Bool [N, H, W], without pixels that are not judged.
        boxes: Float [N, 4], xyxy around what is annotated.
        labels: int64 [N].
        ignored: Bool [H, W], pixels that are not judged; None: all are.
    """

    masks: Tensor
    boxes: Tensor
    labels: Tensor
    ignored: Tensor | None = None

    def __len__(self) -> int:
        return len(self.masks)

    @classmethod
    def read(cls, wanted: Mapping[str, Any]) -> TrueObjects:
        """Those of a test input with truth, see `freeseg.data.TruthMapper`.

        Raises:
            ValueError: It has none, or of another size than the photo; names the photo.
        """
        instances, ignored = wanted.get("instances"), wanted.get(IGNORED)
        name = wanted.get("file_name", "an input")
        if instances is None or not instances.has("gt_masks"):
            raise ValueError(f"{name} has no true objects to point at: was its mapper TruthMapper?")
        size = read_frame(wanted).photo_size
        masks = instances.gt_masks.tensor
        for given in (masks, *([] if ignored is None else [ignored])):
            if tuple(given.shape[-2:]) != size:
                shape = tuple(given.shape[-2:])
                raise ValueError(f"{name} is a photo of {size}, its truth is of {shape}")
        boxes = instances.gt_masks.get_bounding_boxes().tensor
        if ignored is not None:
            masks = masks & ~ignored
        is_judged = mask_areas(masks) > 0
        labels = instances.gt_classes
        return cls(masks[is_judged], boxes[is_judged], labels[is_judged], ignored)


class EncodedPhoto:
    """A photo that a system has encoded once, and answers any number of questions about."""

    def __init__(self, system: SegmentationSystem[Any], wanted: Mapping[str, Any]) -> None:
        """Encodes a test input's photo."""
        frame = read_frame(wanted)
        self.size = frame.photo_size
        self.takes_logits = "logits" in system.answers[Task.OBJECT].kinds
        self._system = system
        self._file_name = str(wanted.get("file_name", ""))
        self._features: ImageFeatures = system.encode(system.prepare([wanted["image"]], [frame]))

    def ask(self, prompt: Prompt, *, wants_alternatives: bool = False) -> InstanceSet:
        """What the system answers, see `freeseg.structures.Request`."""
        return self._answered(self._features, prompt, Wants(alternatives=wants_alternatives))

    def _answered(self, features: ImageFeatures, prompt: Prompt, wants: Wants) -> InstanceSet:
        request = Request(0, (Task.OBJECT,), prompt, wants=wants)
        self._system.check([request])
        found = self._system.answer(features, [request])[0].objects
        assert found is not None
        return found

    def zoom(self, prompt: Prompt, answers: InstanceSet) -> InstanceSet:
        """Answers about every row of a prompt, closer, in the photo's file."""

        def ask(window: Window, closer: Prompt) -> InstanceSet:
            pixels, frame = self._system.photo_input.of_window(self._image, window)
            features = self._system.encode(self._system.prepare([pixels], [frame]))
            return self._answered(features, closer, Wants(alternatives=False))

        return zoom(prompt, dense_masks(answers), ask)

    @cached_property
    def _image(self) -> RgbImage:
        """The photo [H, W, 3] at its own size, read when it is looked at closer."""
        return read_image(self._file_name)

    def marks(
        self,
        count: int,
        *,
        points: Tensor | None = None,
        signs: Tensor | None = None,
        boxes: Tensor | None = None,
    ) -> Marks:
        """Marks of N objects of the photo; fields as of `Marks`, None where there are none."""
        return Marks(
            self.size,
            torch.zeros(count, 0, 2) if points is None else points,
            torch.zeros(count, 0, dtype=torch.int64) if signs is None else signs,
            torch.full((count, 4), torch.nan) if boxes is None else boxes,
        )


def first_answers(found: InstanceSet, count: int) -> InstanceSet:
    """The answer about each of N objects, in their order, without other readings.

    Raises:
        ValueError: There is none about one of them, or there are several.
    """
    rows = torch.arange(len(found), device=found.scores.device)
    if found.choices is not None:
        rows = rows[found.choices == 0]
    owners = rows if found.owners is None else found.owners[rows]
    if sorted(owners.tolist()) != list(range(count)):
        raise ValueError(
            f"wanted an answer about each of {count} objects, got those about {owners.tolist()}"
        )
    return select_instances(found, rows[owners.argsort()])


def dense_masks(found: InstanceSet) -> Tensor:
    """Masks of results, bool [R, H, W], where the truth is: in main memory.

    Raises:
        ValueError: They are boxes alone.
    """
    if found.masks is None:
        raise ValueError("the system answers with boxes alone, an evaluation of masks needs masks")
    masks = found.masks.masks() if isinstance(found.masks, Runs) else found.masks
    return masks.cpu()

"""A tracker for systems that follow examples: earlier frames are the examples of the next one.

As in SegGPT (arXiv 2304.03284, section 4.2) the frames on which objects are given stay for good,
and the last K predictions beside them. Every object keeps its number throughout.

Shapes: M objects, H W frame size, h w size at which the model sees frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from freeseg.data.examples import (
    AnyExample,
    MaskSource,
    is_numbered,
    read_example,
    read_examples,
)
from freeseg.images import RgbImage
from freeseg.inference.objects import masks_at, objects_of_masks
from freeseg.structures import Example, InstanceSet, SegmentationResult, Vocabulary

MEMORY = 8  # of SegGPT's paper: J&F on DAVIS 2017 is 70.0, 74.7, 75.6, 74.8 with 1, 4, 8, 12
MIN_SCORE = 0.5  # of a frame's objects, below which it is not remembered

GivenMasks = MaskSource | Sequence[MaskSource] | Mapping[str, MaskSource]
FrameMasks = GivenMasks | Mapping[int, GivenMasks]


@dataclass(frozen=True, eq=False)
class TrackedObjects:
    """The objects of a frame.

    Attributes:
        labels: int32 [H, W], the number of the object of every pixel; 0: none.
        names: Of all objects so far by their numbers, in the order in which they began.
        scores: Of the objects, in [0, 1], by their numbers; 1 where a mask was given.
    """

    labels: Tensor
    names: Mapping[int, str]
    scores: Mapping[int, float]

    @property
    def result(self) -> SegmentationResult:
        """As objects, one for every number, with the names as classes."""
        masks = self.labels == torch.tensor(list(self.names))[:, None, None]
        scores = torch.tensor([self.scores.get(number, 0.0) for number in self.names])
        found = objects_of_masks(masks, scores, torch.arange(len(self.names)))
        names = Vocabulary(tuple(self.names.values()), (True,) * len(self.names))
        return SegmentationResult(objects=found, vocabulary=names)


class View(Protocol):
    """A frame, as a system sees it that follows examples."""

    image: RgbImage
    pixels: Tensor  # uint8 [3, h, w], RGB: what of it is remembered

    def find(self, examples: Sequence[AnyExample]) -> InstanceSet:
        """A mask of every object of the examples, in the order in which they show them."""
        ...


class Tracker:
    """Objects through the frames of one clip, one after the other; holds K + 1 small pictures."""

    def __init__(
        self,
        *,
        examples: Any = None,
        memory: int = MEMORY,
        min_score: float = MIN_SCORE,
    ) -> None:
        """Begins a clip.

        Args:
            examples: Other pictures that show the objects, see `freeseg.data.read_examples`; they
                stay for good. Objects of one number are one.
            memory: K; 0: every frame is compared with what was given alone.
            min_score: A frame whose visible objects have a lower mean score is not remembered.

        Raises:
            ValueError: The memory is negative, or the score no share.
        """
        if memory < 0:
            raise ValueError(f"memory must be 0 or more, got {memory}")
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score must be from 0 to 1, got {min_score}")
        self._given: list[AnyExample] = []
        self._memory: deque[Example] = deque(maxlen=memory)
        self._min_score = min_score
        self._names: dict[int, str] = {}  # of the objects, by number
        if examples is not None:
            self._take(read_examples(examples))

    def step(self, view: View, masks: GivenMasks | None = None) -> TrackedObjects:
        """The objects of the next frame.

        Args:
            view: Of the frame.
            masks: Of objects that begin here, or are corrected: as of `freeseg.data.read_example`.
                Numbers of a map are those of objects; a single mask (bool, or in black and white),
                and masks of a list, begin new ones; names are those of objects.

        Raises:
            ImageError: A mask cannot be read.
            ValueError: Masks are malformed or of another size, or no object has begun so far.
        """
        given = None if masks is None else self._numbered(view, masks)
        if given is None and not self._names:
            raise ValueError("no object has begun: give masks of the first frame, or examples")
        labels, scores = self._predict(view)
        if given is not None:
            assert given.ids is not None
            numbers = _map_of(given)
            for number in given.ids.tolist():
                labels[labels == number] = 0
                scores[number] = 1.0
            labels = torch.where(numbers > 0, numbers, labels)
        self._remember(view, labels, scores, is_given=given is not None)
        return TrackedObjects(labels, dict(self._names), scores)

    @property
    def _shown(self) -> list[AnyExample]:
        return [*self._given, *self._memory]

    def _take(self, examples: Any) -> None:
        """Remembers for good.

        Raises:
            ValueError: They were enrolled already: what is remembered has to stand beside them.
        """
        if not isinstance(examples, tuple):
            raise ValueError("a tracker takes examples as they are, not enrolled")
        numbered = []
        for example in examples:
            if example.ids is None:
                example = replace(example, ids=self._numbers_of(example))
            if example.vocabulary is not None:  # the numbers say it; without names they are objects
                for number, label in zip(example.ids.tolist(), example.labels.tolist()):
                    self._names.setdefault(number, example.vocabulary.names[label])
                example = replace(example, labels=None, vocabulary=None)
            for number in example.ids.tolist():
                self._names.setdefault(number, f"object {number}")
            numbered.append(example)
        self._given += numbered

    def _numbers_of(self, example: Example) -> Tensor:
        """Of masks: those that their names have, or the next ones."""
        if example.labels is None or example.vocabulary is None:
            first = max([0, *self._names]) + 1
            return torch.arange(first, first + len(example.masks))
        known = {name: number for number, name in self._names.items()}
        numbers = []
        for label in example.labels.tolist():
            name = example.vocabulary.names[label]
            if name not in known:
                known[name] = max([0, *self._names, *known.values()]) + 1
            numbers.append(known[name])
        return torch.tensor(numbers, dtype=torch.int64)

    def _numbered(self, view: View, masks: GivenMasks) -> Example:
        """The frame as an example of what is given on it, at its own size."""
        example = read_example(view.image, masks)
        if not is_numbered(masks):
            example = replace(example, ids=self._numbers_of(example))
        names = {}
        for row, number in enumerate(_ids(example).tolist()):
            names[number] = f"object {number}"
            if example.vocabulary is not None and example.labels is not None:
                names[number] = example.vocabulary.names[example.labels[row]]
        for number, name in names.items():
            self._names.setdefault(number, name)
        return example

    def _predict(self, view: View) -> tuple[Tensor, dict[int, float]]:
        """Numbers int32 [H, W] of a frame's objects, and their scores."""
        shown = self._shown
        labels = torch.zeros(view.image.shape[:2], dtype=torch.int32)
        if not shown:
            return labels, {}
        found = view.find(shown)
        assert isinstance(found.masks, Tensor)
        numbers = dict.fromkeys(n for each in shown for n in _ids(each).tolist())
        for number, mask in zip(numbers, found.masks):
            labels[mask.cpu()] = number
        return labels, dict(zip(numbers, found.scores.tolist()))

    def _remember(
        self, view: View, labels: Tensor, scores: Mapping[int, float], *, is_given: bool
    ) -> None:
        """Keeps a frame: for good where objects were given on it, else if it is sure of them.

        One on which no object is seen is not kept: that nothing is there would be learned from it.
        """
        visible = [number for number in labels.unique().tolist() if number]
        if not visible:
            return
        is_sure = np.mean([scores[number] for number in visible]) >= self._min_score
        if not is_given and not (is_sure and self._memory.maxlen):
            return
        pixels = view.pixels
        ids = torch.tensor(list(self._names), dtype=torch.int64)
        size = (pixels.shape[-2], pixels.shape[-1])
        example = Example(pixels, masks_at(labels == ids[:, None, None], size), ids=ids)
        if is_given:
            self._given.append(example)
        else:
            self._memory.append(example)


def by_frame(masks: FrameMasks | None) -> dict[int, GivenMasks]:
    """Masks by the number of their frame, of such or of those of the first frame."""
    if masks is None:
        return {}
    if isinstance(masks, Mapping) and all(isinstance(number, int) for number in masks):
        return {number: given for number, given in masks.items() if given is not None}  # type: ignore[misc]
    return {0: masks}  # type: ignore[dict-item]


def _ids(example: AnyExample) -> Tensor:
    assert example.ids is not None  # `Tracker` numbers all
    return example.ids


def _map_of(example: Example) -> Tensor:
    """Numbers int32 [H, W] of an example; smaller masks over larger ones."""
    assert example.ids is not None
    numbers = torch.zeros(example.masks.shape[-2:], dtype=torch.int32)
    areas = example.masks.flatten(1).sum(1)
    for row in areas.argsort(descending=True, stable=True).tolist():
        numbers[example.masks[row]] = int(example.ids[row])
    return numbers

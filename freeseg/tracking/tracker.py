"""A tracker for systems that follow examples: earlier frames are the examples of the next one.

As in SegGPT (arXiv 2304.03284, section 4.2) the frames on which objects are given stay for good,
and the last K predictions beside them. Every object keeps its number, and so its colour, throughout.

Shapes: M objects, H W frame size, h w size at which the model sees frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.data.examples import MaskSource, read_example, read_examples
from freeseg.images import ImageSource
from freeseg.inference.objects import objects_of_masks
from freeseg.session import Session
from freeseg.structures import Example, LearnedExample, SegmentationResult, Vocabulary
from freeseg.tracking.frames import TimedFrame
from freeseg.visualization import Segmentation

MEMORY = 8  # of SegGPT's paper: J&F on DAVIS 2017 is 70.0, 74.7, 75.6, 74.8 with 1, 4, 8, 12
MIN_SCORE = 0.5  # of a frame's objects, below which it is not remembered

GivenMasks = MaskSource | Sequence[MaskSource] | Mapping[str, MaskSource]
FrameMasks = GivenMasks | Mapping[int, GivenMasks]


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame with its objects.

    Attributes:
        frame: As it was given.
        labels: int32 [H, W], the number of the object of every pixel; 0: none.
        ids: Numbers of all objects so far, in the order in which they began.
        segmentation: The objects as any other result: drawn, saved, converted. Its rows are `ids`.
    """

    frame: TimedFrame
    labels: npt.NDArray[np.int32]
    ids: tuple[int, ...]
    segmentation: Segmentation

    @property
    def time(self) -> Fraction:
        """Seconds from the start."""
        return self.frame.time


class Tracker:
    """Objects through the frames of one clip, one after the other; holds K + 1 small pictures."""

    def __init__(
        self,
        open_session: Callable[[ImageSource], Session],
        *,
        examples: Any = None,
        memory: int = MEMORY,
        min_score: float = MIN_SCORE,
    ) -> None:
        """Begins a clip.

        Args:
            open_session: Such as `Segmenter.open` of a system that takes examples.
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
        self._open = open_session
        self._given: list[Example | LearnedExample] = []
        self._memory: deque[Example] = deque(maxlen=memory)
        self._min_score = min_score
        self._names: dict[int, str] = {}  # of the objects, by number
        if examples is not None:
            self._take(read_examples(examples))

    def step(self, frame: TimedFrame, masks: GivenMasks | None = None) -> TrackedFrame:
        """The objects of the next frame.

        Args:
            frame: Later than all before.
            masks: Of objects that begin here, or are corrected: as of `freeseg.data.read_example`.
                Numbers of a map are those of objects; a single mask, and masks of a list, begin
                new ones; names are those of objects.

        Raises:
            ImageError: The frame or a mask cannot be read.
            ValueError: Masks are malformed or of another size, or no object has begun so far.
        """
        session = self._open(frame.image)
        size = session.photo.size
        given = None if masks is None else self._numbered(session, masks)
        if given is None and not self._names:
            raise ValueError(f"frame {frame.number}: no object has begun; give masks or examples")
        labels, scores = self._predict(session) if self._shown else (torch.zeros(size).int(), {})
        if given is not None:
            numbers = _map_of(given)
            for number in given.ids.tolist():  # type: ignore[union-attr]
                labels[labels == number] = 0
                scores[number] = 1.0
            labels = torch.where(numbers > 0, numbers, labels)
        self._remember(session, labels, scores, is_given=given is not None)
        return self._result(frame, session, labels, scores)

    def follow(
        self, frames: Iterable[TimedFrame], masks: FrameMasks | None = None
    ) -> Iterator[TrackedFrame]:
        """The objects of frames, one after the other as they are asked for.

        Args:
            frames: Of the clip, from its beginning.
            masks: Of the first frame, see `step`; or such by the numbers, from 0 on, of the frames
                on which objects begin or are corrected.

        Raises:
            ValueError: See `step`; the clip has ended before a frame with masks.
        """
        by_frame = dict(masks) if _is_by_frame(masks) else {0: masks}
        for frame in frames:
            yield self.step(frame, by_frame.pop(frame.number, None))
        late = [number for number, given in by_frame.items() if given is not None]
        if late:
            raise ValueError(f"the clip has no frame {late[0]}, for which there are masks")

    @property
    def _shown(self) -> list[Example | LearnedExample]:
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
        """Of masks with names: those that the names have, or the next ones."""
        assert example.labels is not None and example.vocabulary is not None
        known = {name: number for number, name in self._names.items()}
        numbers = []
        for label in example.labels.tolist():
            name = example.vocabulary.names[label]
            if name not in known:
                known[name] = max([0, *self._names, *known.values()]) + 1
            numbers.append(known[name])
        return torch.tensor(numbers, dtype=torch.int64)

    def _numbered(self, session: Session, masks: GivenMasks) -> Example:
        """The frame as an example of what is given on it, at its own size."""
        example = read_example(session.photo.image, masks)
        if example.ids is None and example.vocabulary is None:
            raise ValueError("there is no mask")
        if example.vocabulary is not None:
            example = replace(example, ids=self._numbers_of(example))
        elif self._names and not _is_numbered(masks):
            first = max(self._names) + 1
            example = replace(example, ids=torch.arange(first, first + len(example.masks)))
        names = {}
        for row, number in enumerate(example.ids.tolist()):  # type: ignore[union-attr]
            names[number] = f"object {number}"
            if example.vocabulary is not None and example.labels is not None:
                names[number] = example.vocabulary.names[example.labels[row]]
        for number, name in names.items():
            self._names.setdefault(number, name)
        return example

    def _predict(self, session: Session) -> tuple[Tensor, dict[int, float]]:
        """Numbers int32 [H, W] of a frame's objects, and their scores."""
        shown = self._shown
        found = session(examples=shown).objects
        assert found is not None and found.masks is not None
        numbers = list(dict.fromkeys(n for each in shown for n in each.ids.tolist()))  # type: ignore[union-attr]
        labels = torch.zeros(session.photo.size, dtype=torch.int32)
        for number, mask in zip(numbers, found.masks):
            labels[torch.from_numpy(np.ascontiguousarray(mask))] = number
        return labels, dict(zip(numbers, found.scores.tolist()))

    def _remember(
        self, session: Session, labels: Tensor, scores: Mapping[int, float], *, is_given: bool
    ) -> None:
        """Keeps a frame: for good where objects were given on it, else if it is sure of them.

        One on which no object is seen is not kept: that nothing is there would be learned from it.
        """
        visible = [number for number in labels.unique().tolist() if number]
        is_sure = visible and np.mean([scores[n] for n in visible]) >= self._min_score
        if not is_given and not (is_sure and self._memory.maxlen):
            return
        pixels = session.photo.pixels
        small = F.interpolate(labels[None, None].float(), pixels.shape[-2:], mode="nearest-exact")
        ids = torch.tensor(list(self._names), dtype=torch.int64)
        example = Example(pixels, small[0, 0] == ids[:, None, None], ids=ids)
        if is_given:
            self._given.append(example)
        else:
            self._memory.append(example)

    def _result(
        self, frame: TimedFrame, session: Session, labels: Tensor, scores: Mapping[int, float]
    ) -> TrackedFrame:
        ids = tuple(self._names)
        masks = labels == torch.tensor(ids)[:, None, None]
        sure = torch.tensor([scores.get(number, 0.0) for number in ids])
        found = objects_of_masks(masks, sure, torch.arange(len(ids)))
        names = Vocabulary(tuple(self._names.values()), (True,) * len(ids))
        result = SegmentationResult(objects=found, vocabulary=names)
        return TrackedFrame(frame, labels.numpy(), ids, session.show(result))


def _is_by_frame(masks: Any) -> TypeGuard[Mapping[int, GivenMasks]]:
    """Whether masks are given by the numbers of frames."""
    return isinstance(masks, Mapping) and all(isinstance(number, int) for number in masks)


def _is_numbered(masks: GivenMasks) -> bool:
    """Whether masks are a map of numbers, not of yes and no."""
    if isinstance(masks, (list, tuple, Mapping)):
        return False
    if isinstance(masks, Tensor):
        return masks.dtype != torch.bool and masks.dim() == 2
    if isinstance(masks, np.ndarray):
        return masks.dtype != np.bool_ and masks.ndim == 2
    return True  # a picture


def _map_of(example: Example) -> Tensor:
    """Numbers int32 [H, W] of an example; smaller masks over larger ones."""
    assert example.ids is not None
    numbers = torch.zeros(example.masks.shape[-2:], dtype=torch.int32)
    areas = example.masks.flatten(1).sum(1)
    for row in areas.argsort(descending=True, stable=True).tolist():
        numbers[example.masks[row]] = int(example.ids[row])
    return numbers

"""A session over time: a tracker on frames that a model reads as it reads photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from freeseg.photo_model import PhotoModel
from freeseg.session import Classes, show
from freeseg.structures import Vocabulary
from freeseg.systems import SegmentationSystem
from freeseg.tracking import SystemView, TimedFrame, Tracker, follows_examples
from freeseg.tracking.tracker import GivenMasks
from freeseg.visualization.tracks import TrackedFrame


def follow(
    model: PhotoModel,
    tracker: Tracker,
    frames: Iterable[TimedFrame],
    masks: Mapping[int, GivenMasks],
    about: tuple[str, float],
) -> Iterator[TrackedFrame]:
    """The objects of frames, one after the other as they are asked for.

    Args:
        model: That follows examples.
        tracker: At the beginning of the clip.
        frames: Of it.
        masks: By the numbers of the frames on which objects begin or are corrected.
        about: What the model knows, and below which certainty it is unsure; see `show`.

    Raises:
        ImageError: A frame or a mask cannot be read.
        ValueError: The model follows no examples; masks are malformed; no object has begun when a
            frame comes; the clip has ended before a frame with masks.
    """
    system = model.model
    if not isinstance(system, SegmentationSystem) or not follows_examples(system):
        raise ValueError(f"{model.name} takes no examples, by which objects could be followed")
    return _follow(model, system, tracker, frames, dict(masks), about)


def _follow(
    model: PhotoModel,
    system: SegmentationSystem[Any],
    tracker: Tracker,
    frames: Iterable[TimedFrame],
    masks: dict[int, GivenMasks],
    about: tuple[str, float],
) -> Iterator[TrackedFrame]:
    for frame in frames:
        photo = model.read(frame.image)
        view = SystemView(system, model.photo_input, photo.image)
        objects = tracker.step(view, masks.pop(frame.number, None))
        result = objects.result
        assert isinstance(result.vocabulary, Vocabulary)
        shown = show(photo, result, Classes(result.vocabulary), *about)
        yield TrackedFrame(frame, objects, shown)
    if masks:
        raise ValueError(f"the clip has no frame {min(masks)}, for which there are masks")

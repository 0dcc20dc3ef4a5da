"""A frame as a system sees it, encoded once.

Shapes: h w size at which the system sees frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from freeseg.data.examples import AnyExample
from freeseg.images import RgbImage
from freeseg.inference import PhotoInput
from freeseg.structures import Frame, InstanceSet, Prompt, Request, Task, Wants
from freeseg.structures.clip_frame import ClipFrame
from freeseg.systems import SegmentationSystem
from freeseg.tracking.tracker import Tracker


class SystemView:
    """A frame of any system that follows examples; see `freeseg.tracking.tracker.View`."""

    def __init__(self, system: SegmentationSystem[Any], photo_input: PhotoInput, image: RgbImage):
        """Takes a frame.

        Args:
            system: That answers.
            photo_input: How it reads photos.
            image: RGB [H, W, 3].
        """
        self.system, self.image = system, image
        self._pixels = photo_input(image)
        self.pixels = self._pixels if photo_input.image_format == "RGB" else self._pixels.flip(0)

    @torch.inference_mode()
    def find(self, examples: Sequence[AnyExample]) -> InstanceSet:
        """A mask of every object of the examples, in the order in which they show them.

        Raises:
            ValueError: The system takes no examples.
        """
        size = self.image.shape[0], self.image.shape[1]
        model_size = self._pixels.shape[-2], self._pixels.shape[-1]
        request = Request(
            0, (Task.OBJECT,), Prompt(examples=tuple(examples)), wants=Wants(alternatives=False)
        )
        self.system.check([request])
        frame = Frame.of_whole(size, model_size)
        features = self.system.encode(self.system.prepare([self._pixels], [frame]))
        (result,) = self.system.answer(features, [request])
        assert result.objects is not None
        return result.objects


def follows_examples(system: object) -> bool:
    """Whether a system can follow objects by examples."""
    answers = getattr(system, "answers", None) or {}
    return any("examples" in takes.kinds for takes in answers.values())


def track_clip(
    system: SegmentationSystem[Any], frames: Iterator[ClipFrame], **settings: float
) -> Iterator[torch.Tensor]:
    """Numbers int32 [H, W] of the objects of every frame of a clip, as evaluations ask for them.

    Args:
        system: That follows examples.
        frames: With the masks of objects where they begin; frames before the first are empty.
        settings: Of the `Tracker`.
    """
    tracker, has_begun = Tracker(**settings), False  # type: ignore[arg-type]
    for frame in frames:
        has_begun = has_begun or frame.begins is not None
        if not has_begun:
            yield torch.zeros(frame.image.shape[:2], dtype=torch.int32)
            continue
        view = SystemView(system, system.photo_input, frame.image)
        begins = None if frame.begins is None else frame.begins.to(torch.int32)
        yield tracker.step(view, begins).labels

"""A model as photos meet it: how they are read, encoded and answered, whatever the model is.

Shapes: H W photo size, h w size at which the model sees it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from freeseg.classes import UNNAMED
from freeseg.data import ClassSource, SegmentationMapper, read_vocabulary
from freeseg.data.photo_reader import read_photo
from freeseg.images import MAX_PIXELS, ImageError, ImageSource, RgbImage, file_name_of, load_source
from freeseg.inference import PhotoInput, is_out_of_memory, segment_within_memory
from freeseg.inference.everything import join_windows, windows_of
from freeseg.inference.zoom import zoom
from freeseg.structures import (
    ALTERNATIVES_KEY,
    CERTAINTY_KEY,
    LABEL_MAP_KEY,
    OUTPUT_KEYS,
    PROMPT_KEY,
    Enrolled,
    EverythingSettings,
    Example,
    Frame,
    ImageFeatures,
    InstanceSet,
    LearnedExample,
    Marks,
    Prompt,
    Request,
    SegmentationResult,
    Vocabulary,
    Wants,
    Window,
    answered_tasks,
    read_output,
    takes_classes,
)
from freeseg.systems import SegmentationSystem, paper_name
from freeseg_command.tasks import SHOWN_TASKS, Task


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo and what the model gets of it.

    Attributes:
        image: Upright RGB [H, W, 3].
        pixels: uint8 [3, h, w].
        file_name: Of its file, where it has one.
    """

    image: RgbImage
    pixels: Tensor
    file_name: str | None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def model_size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.pixels.shape[-2], self.pixels.shape[-1]


class PhotoModel:
    """Answers questions about photos with a model.

    A `SegmentationSystem` encodes a photo once. Any other model that keeps Detectron2's contract,
    and a system whose ``forward`` a project has replaced, sees the photo anew for every question.
    """

    def __init__(
        self,
        model: nn.Module,
        photo_input: PhotoInput,
        *,
        wants_certainty: bool,
        max_instances: int | None,
    ) -> None:
        """Takes a model.

        Args:
            model: Of any kind.
            photo_input: How it reads photos.
            wants_certainty: Whether results say how far the model knows what it sees.
            max_instances: Kept of a photo that went through the model in tiles; None keeps all.
        """
        self.model = model
        self.photo_input = photo_input
        self.wants_certainty = wants_certainty
        self.max_instances = max_instances

    @property
    def name(self) -> str:
        """What the model's system is called."""
        return paper_name(type(self.model).__name__)

    @property
    def takes_text(self) -> bool:
        """Whether it can look for any classes, not only for those it was trained on."""
        return takes_classes(self.model)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that it has; a user's default comes first."""
        answered = answered_tasks(self.model)
        return tuple(task for task in (*SHOWN_TASKS, Task.OBJECT) if task in answered)

    @property
    def everything_settings(self) -> EverythingSettings:
        """How it looks for everything where a caller does not say otherwise."""
        return getattr(self.model, "everything_settings", None) or EverythingSettings()

    def read_classes(self, text: ClassSource, own: Vocabulary) -> Vocabulary:
        """The vocabulary of a class list.

        Args:
            text: See `freeseg.data.read_vocabulary`.
            own: The classes of the model.

        Raises:
            ValueError: It is no class list, or the model knows its own classes only.
        """
        if not self.takes_text:
            if isinstance(self.model, SegmentationSystem) and self.model.vocabulary is None:
                raise ValueError(f"{self.name} knows no classes, and takes no class list")
            raise ValueError(
                f"{self.name} knows its {len(own)} classes only; "
                "other classes need an open-vocabulary model such as FreeSeg"
            )
        return read_vocabulary(text)

    def read(self, source: ImageSource, max_pixels: int = MAX_PIXELS) -> Photo:
        """Reads a photo of so many pixels at most, and resizes it as the test loader would.

        Raises:
            ImageError: It cannot be used; the message names it and says why.
        """
        loaded = load_source(source)
        white_level = self.photo_input.white_level
        image = read_photo(loaded, white_level=white_level, max_pixels=max_pixels)
        try:
            pixels = self.photo_input(image)
        except ValueError:
            height, width = image.shape[:2]
            raise ImageError(
                loaded.name, f"is too elongated to resize ({width}x{height})"
            ) from None
        return Photo(image, pixels, file_name_of(source))

    def state(self) -> Hashable:
        """Changes with the model, its precision, its device, and writes to its weights."""
        weights = list(self.model.parameters()) if isinstance(self.model, nn.Module) else []
        kinds = {(weight.dtype, weight.device) for weight in weights}
        return id(self.model), frozenset(kinds), sum(map(_writes, weights))

    def encode(self, photos: Sequence[Photo]) -> ImageFeatures | None:
        """Features of photos of one size, as all questions about them share them.

        None where there are none to share: the model is no `SegmentationSystem`, or they do not fit
        into memory, and photos go through the model in tiles.
        """
        frames = [Frame.of_whole(photo.size, photo.model_size) for photo in photos]
        return self._encode([photo.pixels for photo in photos], frames)

    def _encode(self, images: Sequence[Tensor], frames: Sequence[Frame]) -> ImageFeatures | None:
        if not _shares_encoding(self.model):
            return None
        try:
            with torch.inference_mode():
                return self.model.encode(self.model.prepare(images, frames))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def prompt(
        self, tasks: Sequence[Task], classes: Vocabulary, marks: Marks | None = None
    ) -> Prompt:
        """What is pointed at, and a class list where the tasks may be asked for any."""
        answers = getattr(self.model, "answers", None)
        takes_list = self.takes_text and classes is not UNNAMED  # nobody has named any
        if takes_list and answers is not None:  # a task that it has not is refused later
            takes_list = any("classes" in answers[task].kinds for task in tasks if task in answers)
        return Prompt(marks=marks, vocabulary=classes if takes_list else None)

    def request(
        self, tasks: tuple[Task, ...], prompt: Prompt, *, alternatives: bool = True
    ) -> Request:
        """What every photo of a batch is asked; of what is semantic labels will do."""
        return Request(0, tasks, prompt, wants=Wants(True, self.wants_certainty, alternatives))

    def enroll(self, examples: Sequence[Example | LearnedExample] | Enrolled) -> Enrolled:
        """What is the same of examples for all photos; what is enrolled stays so.

        Raises:
            ValueError: The model takes none, or they do not go together.
        """
        if isinstance(examples, Enrolled):
            return examples
        if not isinstance(self.model, SegmentationSystem):
            raise ValueError(f"{self.name} takes no examples")
        with torch.inference_mode():
            return replace(self.model.enroll(examples), state=self.state())

    def check(self, request: Request) -> None:
        """Refuses what the model does not answer, before anything is computed.

        Raises:
            ValueError: See above; the message lists what it does answer or take.
        """
        enrolled = request.prompt.enrolled
        if enrolled is not None and enrolled.state != self.state():
            raise ValueError("the examples were enrolled by another model or other weights")
        if isinstance(self.model, SegmentationSystem):
            self.model.check([request])
        elif request.prompt.kinds - {"classes"}:
            raise ValueError(f"{self.name} takes nothing but class lists")

    def answer(
        self,
        photos: Sequence[Photo],
        features: ImageFeatures | None,
        request: Request,
    ) -> list[SegmentationResult]:
        """The results of photos for one request, from their features where there are any.

        Raises:
            ValueError: The model does not have a task, or does not understand the prompt.
            MemoryError: Not even the smallest tiles of a photo fit.
        """
        results = None if features is None else self.answer_encoded(features, request)
        del features  # what follows needs the memory
        return self.answer_within_memory(photos, request) if results is None else results

    def everything(
        self, photo: Photo, features: ImageFeatures, settings: EverythingSettings
    ) -> SegmentationResult | None:
        """All there is in an encoded photo; None where it does not fit into memory.

        Windows of it are encoded one after the other, and not kept.
        """
        found = []
        for layer, window in windows_of(photo.size, settings):
            its = features if layer == 0 else self._encode_window(photo, window)
            request = self.request((Task.OBJECT,), Prompt(everything=settings.of_layer(layer)))
            results = None if its is None else self.answer_encoded(its, request)
            if results is None:
                return None
            assert results[0].objects is not None
            found.append(results[0].objects)
        return SegmentationResult(objects=join_windows(found, photo.size, settings))

    def zoom(
        self,
        photo: Photo,
        features: ImageFeatures | None,
        prompt: Prompt,
        masks: Tensor,
        margin: float,
    ) -> SegmentationResult:
        """Answers anew about every object, closer.

        Args:
            photo: Encoded.
            features: Of all of it; None where they do not fit into memory.
            prompt: With marks of N objects.
            masks: Bool [N, H, W], the former answers.
            margin: As of `freeseg.inference.zoom`.

        Raises:
            MemoryError: The photo or a part of it does not fit into memory.
        """

        def ask(window: Window, closer: Prompt) -> InstanceSet:
            is_whole = window == (0, 0, photo.size[1], photo.size[0])
            its = features if is_whole else self._encode_window(photo, window)
            request = self.request((Task.OBJECT,), closer, alternatives=False)
            results = None if its is None else self.answer_encoded(its, request)
            if results is None or results[0].objects is None:
                raise too_large
            return results[0].objects

        too_large = MemoryError(f"{self.name} cannot look closer at {photo.size}")
        if features is None:
            raise too_large
        return SegmentationResult(objects=zoom(prompt, masks, ask, margin=margin))

    def answer_encoded(
        self, features: ImageFeatures, request: Request
    ) -> list[SegmentationResult] | None:
        """The results of encoded photos; None where they do not fit into memory."""
        assert _shares_encoding(self.model)
        requests = [replace(request, index=index) for index in range(features.batch_size)]
        try:
            with torch.inference_mode():
                return self.model.answer(features, requests)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None

    def answer_within_memory(
        self, photos: Sequence[Photo], request: Request
    ) -> list[SegmentationResult]:
        """The results of photos that go through the model by Detectron2's contract, or in tiles."""
        inputs = [self._input(photo, request) for photo in photos]
        with torch.inference_mode():
            outputs = segment_within_memory(self.model, inputs, self.max_instances)
        missing = [task for task in request.tasks if OUTPUT_KEYS[task] not in outputs[0]]
        if missing:
            raise ValueError(
                f"{self.name} gave no result for the task {missing[0]!r}, "
                f"only {', '.join(outputs[0]) or 'nothing'}"
            )
        return [read_output(output) for output in outputs]

    def _encode_window(self, photo: Photo, window: Window) -> ImageFeatures | None:
        pixels, frame = self.photo_input.of_window(photo.image, window)
        return self._encode([pixels], [frame])

    def _input(self, photo: Photo, request: Request) -> dict[str, Any]:
        (height, width), prompt, wants = photo.size, request.prompt, request.wants
        asked = {
            "image": photo.pixels,
            "height": height,
            "width": width,
            "tasks": request.tasks,
            LABEL_MAP_KEY: wants.labels,
            CERTAINTY_KEY: wants.certainty,
        }
        if not wants.alternatives:
            asked[ALTERNATIVES_KEY] = False
        if prompt.kinds - {"classes"}:
            return {**asked, PROMPT_KEY: prompt}
        return {**asked, "vocabulary": prompt.vocabulary} if self.takes_text else asked


def _writes(weight: Tensor) -> int:
    """How often a weight was written to; 0 where nobody can."""
    return 0 if weight.is_inference() else weight._version


def input_of(model: nn.Module, mapper: SegmentationMapper | None) -> PhotoInput:
    """How photos are read: as a test-time mapper does it, else as a system says itself.

    Raises:
        ValueError: There is neither.
    """
    if mapper is not None:
        (resize,) = mapper.augmentations.augs
        return PhotoInput(resize, mapper.image_format, mapper.reader.white_level)
    own: PhotoInput | None = getattr(model, "photo_input", None)
    if own is None:
        raise ValueError(f"{type(model).__name__} has no photo_input of its own: give the argument")
    return own


def _shares_encoding(model: nn.Module) -> TypeGuard[SegmentationSystem[Any]]:
    """Whether a model is a system whose ``forward``, which then is not needed, is its own."""
    return (
        isinstance(model, SegmentationSystem)
        and not model.training  # by its forward it says what is wrong
        and type(model).forward is SegmentationSystem.forward
        and "forward" not in vars(model)
    )

"""Segments photos with a trained model, by the same path as evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from PIL import Image
from torch import Tensor, nn

from freeseg.classes import fill_num_classes, model_vocabulary, with_own_classes
from freeseg.data import ClassSource, SegmentationMapper, register_custom
from freeseg.data.examples import ExampleSource, read_examples
from freeseg.images import MAX_PIXELS, ImageSource
from freeseg.inference import PhotoInput
from freeseg.modeling import fuse_for_inference
from freeseg.names import build_model, with_own_names
from freeseg.photo_model import Photo, PhotoModel, input_of
from freeseg.session import Classes, Session, choose_tasks, show
from freeseg.structures import Enrolled, Request, Vocabulary
from freeseg.systems.building import ConfigSource, load_weights, read_config
from freeseg.track_session import follow
from freeseg.tracking import (
    MEMORY,
    MIN_SCORE,
    FrameMasks,
    FrameSource,
    Tracker,
    by_frame,
    read_frames,
)
from freeseg.visualization import Segmentation
from freeseg.visualization.tracks import TrackedFrame
from freeseg.zoo import find_configured, weights_path
from freeseg_command.tasks import Task


class Segmenter:
    """Segments photos of any kind and size; safe to call from several threads."""

    def __init__(
        self,
        model: nn.Module,
        *,
        mapper: SegmentationMapper | None = None,
        vocabulary: Vocabulary | None = None,
        category_ids: tuple[int, ...] | None = None,
        knows: str = "",
        unsure_below: float = 0.0,
        max_instances: int | None = None,
    ) -> None:
        """Wraps a system, which knows its classes and how it resizes photos, or any other model.

        Another model keeps Detectron2's contract: it takes [{"image", "height", "width", "tasks"}],
        gives one result dict per image, and encodes a photo anew at every call.

        Args:
            model: A `SegmentationSystem`, or another one with a mapper and a vocabulary.
            mapper: The test-time mapper, which resizes photos and orders their channels; None: the
                system's own way.
            vocabulary: Names of the classes the model predicts; None: those it was trained on.
            category_ids: The dataset's own id of every class, for COCO files; None: those of the
                vocabulary, where it has all.
            knows: The photos that it has learned from, in a few words.
            unsure_below: Photos of which the model is less certain are called unsure; 0: none.
            max_instances: Kept of a photo that went through the model in tiles; None keeps all.

        Raises:
            ValueError: The model does not know its classes or its input, and they are not given.
        """
        self.knows = knows
        self.mapper = mapper
        self._unsure_below = unsure_below
        self.photo_model = PhotoModel(
            model.eval(),
            input_of(model, mapper),
            wants_certainty=unsure_below > 0,
            max_instances=max_instances,
        )
        if vocabulary is None:
            vocabulary = model_vocabulary(model)
        if category_ids is None:
            ids = tuple(each for each in vocabulary.dataset_ids or () if each is not None)
            category_ids = ids if len(ids) == len(vocabulary) else None
        self._classes = Classes(vocabulary, category_ids)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        device: str | None = None,
        opts: Sequence[str] = (),
    ) -> Segmenter:
        """Builds a trained model by its name or from where it lies.

        Args:
            name_or_path: A name of `freeseg models`, a repository on Hugging Face's hub
                ("owner/name"), a folder (of a training here, of `freeseg convert`, or in Hugging
                Face's layout), or a checkpoint with its config.yaml beside it.
            device: As in `from_config`.
            opts: As in `from_config`; MODEL.WEIGHTS among them replaces the model's own.

        Raises:
            FileNotFoundError: There is no such model or file.
            DownloadError: Its weights are not here and cannot be fetched.
            ValueError: It cannot be used; one line says why.
        """
        found, opts = find_configured(name_or_path, opts)
        cfg = read_config(found.config, None, device, opts)
        return cls.from_config(with_own_names(cfg))

    @classmethod
    def from_config(
        cls,
        cfg_or_path: ConfigSource,
        weights: str | os.PathLike[str] | None = None,
        device: str | None = None,
        opts: Sequence[str] = (),
    ) -> Segmenter:
        """Builds the model of a configuration and loads its weights.

        Args:
            cfg_or_path: A configuration, or a yaml file over this package's defaults.
            weights: A checkpoint; MODEL.WEIGHTS when None; "" leaves the model untrained.
            device: "cpu", "cuda", "cuda:1"; when None MODEL.DEVICE, or the CPU without CUDA.
            opts: Overrides, KEY VALUE KEY VALUE.

        Raises:
            FileNotFoundError: The configuration or the weights do not exist.
            ValueError: They cannot be used; one line says why.
        """
        cfg = read_config(cfg_or_path, weights, device, opts)
        if not cfg.MODEL.WEIGHTS and weights is None:
            raise ValueError("no weights: name a file, the configuration has no MODEL.WEIGHTS")
        cfg = with_own_classes(cfg)
        if not cfg.MODEL.CLASSES:  # else the files of the training need not be here
            register_custom(cfg.DATASETS.CUSTOM)
        try:
            fill_num_classes(cfg)
            model = build_model(cfg)
        except KeyError as error:  # Detectron2's registries
            raise ValueError(f"cannot build the model: {error.args[0]}") from error
        weights = weights_path(cfg.MODEL.WEIGHTS)
        load_weights(model, weights, allow_misfit=cfg.MODEL.ALLOW_MISFIT)
        fuse_for_inference(model.eval())
        return cls(
            model,
            mapper=SegmentationMapper(cfg, is_train=False),
            vocabulary=model_vocabulary(model, cfg),
            knows=cfg.MODEL.KNOWS,
            unsure_below=cfg.TEST.UNSURE_BELOW,
            max_instances=cfg.TEST.DETECTIONS_PER_IMAGE,
        )

    def __repr__(self) -> str:
        words = "any words" if self.takes_text else "its own classes"
        return (
            f"Segmenter({self.photo_model.name}, {', '.join(self.tasks)}, "
            f"{len(self.vocabulary)} classes, {words})"
        )

    @property
    def model(self) -> nn.Module:
        return self.photo_model.model

    @model.setter
    def model(self, model: nn.Module) -> None:
        self.photo_model.model = model

    @property
    def unsure_below(self) -> float:
        """Photos of which the model is less certain are called unsure; 0: none, it is not asked."""
        return self._unsure_below

    @unsure_below.setter
    def unsure_below(self, certainty: float) -> None:
        self._unsure_below = certainty
        self.photo_model.wants_certainty = certainty > 0

    @property
    def max_instances(self) -> int | None:
        """Kept of a photo that went through the model in tiles; None keeps all."""
        return self.photo_model.max_instances

    @max_instances.setter
    def max_instances(self, count: int | None) -> None:
        self.photo_model.max_instances = count

    @property
    def photo_input(self) -> PhotoInput:
        """How photos are read."""
        return self.photo_model.photo_input

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that are looked for where a call names none.

        Any class list can be assigned when the model takes any; its texts are encoded once, by the
        next call.
        """
        return self._classes.vocabulary

    @vocabulary.setter
    def vocabulary(self, text: ClassSource) -> None:
        self._classes = Classes(self.read_classes(text))

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The dataset's own id of every class of `vocabulary`, as COCO files name it."""
        own = self._classes.category_ids
        return tuple(range(len(self.vocabulary))) if own is None else own

    @property
    def takes_text(self) -> bool:
        """Whether the model can look for any classes, not only for those it was trained on."""
        return self.photo_model.takes_text

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that the model has; the default comes first."""
        return self.photo_model.tasks

    @overload  # a str is an iterable of str as well; the first signature has it
    def __call__(  # type: ignore[overload-overlap]
        self,
        images: ImageSource,
        task: str | None = None,
        text: ClassSource | None = None,
        *,
        batch_size: int = 1,
    ) -> Segmentation: ...

    @overload
    def __call__(
        self,
        images: Iterable[ImageSource],
        task: str | None = None,
        text: ClassSource | None = None,
        *,
        batch_size: int = 1,
    ) -> list[Segmentation]: ...

    def __call__(
        self,
        images: ImageSource | Iterable[ImageSource],
        task: str | None = None,
        text: ClassSource | None = None,
        *,
        batch_size: int = 1,
    ) -> Segmentation | list[Segmentation]:
        """Segments one photo, or every photo of a list.

        Args:
            images: What `freeseg.images.read_image` reads, or any iterable of that.
            task: "panoptic", "instance", "semantic", or "all" that the model has, from one look at
                the photo; its first one when None.
            text: What to look for, see `freeseg.data.read_vocabulary`; `vocabulary` when None.
                Open-vocabulary models take any.
            batch_size: How many photos the model sees at once; photos that differ in size never
                share a batch, so results do not depend on it.

        Raises:
            ImageError: A photo cannot be used; the message names it and says why.
            ValueError: The task is unknown, the model does not have it, or the classes cannot be
                used.
        """
        if _is_one_image(images):
            return next(self.stream([images], task, text))  # type: ignore[list-item]
        return list(self.stream(images, task, text, batch_size=batch_size))  # type: ignore[arg-type]

    def stream(
        self,
        images: Iterable[ImageSource],
        task: str | None = None,
        text: ClassSource | None = None,
        *,
        batch_size: int = 1,
    ) -> Iterator[Segmentation]:
        """Segments photos one after the other as they are asked for, holding one batch at a time.

        Arguments and errors as of a call; what is wrong with the arguments is said at once.
        """
        tasks = choose_tasks(task, self.tasks)
        if batch_size < 1:
            raise ValueError(f"wanted a batch size from 1 on, got {batch_size}")
        classes = self._classes if text is None else Classes(self.read_classes(text))
        self.photo_model.check(self._request(tasks, classes))
        return self._stream(images, tasks, classes, batch_size)

    def read_classes(self, text: ClassSource) -> Vocabulary:
        """The vocabulary of a class list, if the model takes any."""
        return self.photo_model.read_classes(text, self.vocabulary)

    def open(self, photo: ImageSource | Photo) -> Session:
        """A session with one photo: it is encoded once, for any number of calls.

        Args:
            photo: What `freeseg.images.read_image` reads, or what `read` has.

        Raises:
            ImageError: It cannot be used; the message names it and says why.
        """
        opened = photo if isinstance(photo, Photo) else self.read(photo)
        return Session(self.photo_model, opened, self._classes, self.knows, self.unsure_below)

    def enroll(self, examples: ExampleSource) -> Enrolled:
        """What is the same of examples for all photos: for `session(examples=...)`, many times.

        Takes what `freeseg.data.read_examples` does.

        Raises:
            ValueError: The model takes no examples, or they cannot be read or do not go together.
        """
        return self.photo_model.enroll(read_examples(examples))

    def track(
        self,
        frames: FrameSource,
        masks: FrameMasks | None = None,
        *,
        examples: ExampleSource | None = None,
        memory: int = MEMORY,
        min_score: float = MIN_SCORE,
        every: int = 1,
    ) -> Iterator[TrackedFrame]:
        """Follows objects through a video, frame by frame as they are asked for.

        Args:
            frames: A video, a folder of pictures, or pictures.
            masks: Of the first frame, or by numbers of frames; see `Tracker.step`.
            examples: See `Tracker`; this and what follows.
            every: Only each n-th frame.

        Raises:
            ValueError: The model takes no examples; and see `freeseg.track_session.follow`.
        """
        tracker = Tracker(examples=examples, memory=memory, min_score=min_score)
        about, shown = (self.knows, self.unsure_below), read_frames(frames, every)
        return follow(self.photo_model, tracker, shown, by_frame(masks), about)

    def read(self, photo: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Photo:
        """A photo as the model is to see it.

        Args:
            photo: What `freeseg.images.read_image` reads.
            max_pixels: Larger ones are refused.

        Raises:
            ImageError: It cannot be used; the message names it and says why.
        """
        return self.photo_model.read(photo, max_pixels)

    def _stream(
        self,
        images: Iterable[ImageSource],
        tasks: tuple[Task, ...],
        classes: Classes,
        batch_size: int,
    ) -> Iterator[Segmentation]:
        waiting: list[Photo] = []
        for source in images:
            photo = self.read(source)
            if waiting and photo.pixels.shape != waiting[0].pixels.shape:
                yield from self._segment(waiting, tasks, classes)
                waiting = []
            waiting.append(photo)
            if len(waiting) == batch_size:
                yield from self._segment(waiting, tasks, classes)
                waiting = []
        if waiting:
            yield from self._segment(waiting, tasks, classes)

    def _request(self, tasks: tuple[Task, ...], classes: Classes) -> Request:
        return self.photo_model.request(tasks, self.photo_model.prompt(tasks, classes.vocabulary))

    def _segment(
        self, photos: Sequence[Photo], tasks: tuple[Task, ...], classes: Classes
    ) -> list[Segmentation]:
        model = self.photo_model
        results = model.answer(photos, model.encode(photos), self._request(tasks, classes))
        return [
            show(photo, result, classes, self.knows, self.unsure_below)
            for photo, result in zip(photos, results)
        ]


def _is_one_image(images: object) -> bool:
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray)):
        return True
    if isinstance(images, (Image.Image, Tensor)) or hasattr(images, "read"):
        return True
    return not isinstance(images, Iterable)  # then `read_image` says what is wrong with it

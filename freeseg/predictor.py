"""Segments photos with a trained model, by the same path as evaluation.

Shapes: H W photo size, h w size at which the model sees it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.data import transforms as T
from freeseg.classes import (
    closed_vocabulary,
    fill_num_classes,
    with_own_classes,
)
from freeseg.data import ClassSource, SegmentationMapper, read_vocabulary, register_custom
from freeseg.data.photo_reader import read_photo
from freeseg.images import (
    ImageError,
    ImageSource,
    RgbImage,
    file_name_of,
    load_source,
    order_channels,
)
from freeseg.inference import segment_within_memory
from freeseg.model_loading import ConfigSource, read_config, system_name
from freeseg.modeling import fuse_for_inference
from freeseg.names import build_model, with_own_names
from freeseg.structures import (
    CERTAINTY_KEY,
    LABEL_MAP_KEY,
    Vocabulary,
    answered_tasks,
    takes_classes,
)
from freeseg.visualization import Segmentation
from freeseg.weight_loading import load_weights
from freeseg.zoo import find_configured
from freeseg_command.tasks import SHOWN_TASKS

# task -> what the model's output calls its result
_OUTPUT_KEYS = {"panoptic": "panoptic_seg", "instance": "instances", "semantic": "sem_seg"}


@dataclass(frozen=True)
class _Photo:
    """A photo and what the model gets of it."""

    image: RgbImage
    pixels: Tensor  # uint8 [3, h, w]
    file_name: str | None


@dataclass(frozen=True)
class _Classes:
    """What is looked for, and the dataset's own id of every class where there is a dataset."""

    vocabulary: Vocabulary
    category_ids: tuple[int, ...] | None = None


class Segmenter:
    """Segments photos of any kind and size; safe to call from several threads."""

    def __init__(
        self,
        model: nn.Module,
        *,
        mapper: SegmentationMapper,
        vocabulary: Vocabulary,
        category_ids: tuple[int, ...] | None = None,
        knows: str = "",
        unsure_below: float = 0.0,
        max_instances: int | None = None,
    ) -> None:
        """Wraps a model that keeps Detectron2's contract; `from_config` builds everything.

        Args:
            model: Takes [{"image", "height", "width", "tasks"}], gives one result dict per image.
            mapper: The test-time mapper, which resizes photos and orders their channels.
            vocabulary: Names of the classes the model predicts.
            category_ids: The dataset's own id of every class, for COCO files.
            knows: The photos that it has learned from, in a few words.
            unsure_below: Photos of which the model is less certain are called unsure; 0: none.
            max_instances: Kept of a photo that went through the model in tiles; None keeps all.
        """
        self.knows = knows
        self.unsure_below = unsure_below
        self.max_instances = max_instances
        self.model = model.eval()
        self.mapper = mapper
        self._classes = _Classes(vocabulary, category_ids)

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
        load_weights(model, cfg.MODEL.WEIGHTS, allow_misfit=cfg.MODEL.ALLOW_MISFIT)
        fuse_for_inference(model.eval())
        vocabulary = _vocabulary_of(model, cfg)
        mapper = SegmentationMapper(cfg, is_train=False)
        ids = [each for each in vocabulary.dataset_ids or () if each is not None]
        known = tuple(ids) if len(ids) == len(vocabulary) else None
        return cls(
            model,
            mapper=mapper,
            vocabulary=vocabulary,
            category_ids=known,
            knows=cfg.MODEL.KNOWS,
            unsure_below=cfg.TEST.UNSURE_BELOW,
            max_instances=cfg.TEST.DETECTIONS_PER_IMAGE,
        )

    def __repr__(self) -> str:
        words = "any words" if self.takes_text else "its own classes"
        return (
            f"Segmenter({self._system}, {', '.join(self.tasks)}, "
            f"{len(self.vocabulary)} classes, {words})"
        )

    @property
    def _system(self) -> str:
        return system_name(type(self.model).__name__)

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes that are looked for where a call names none.

        Any class list can be assigned when the model takes any; its texts are encoded once, by the
        next call.
        """
        return self._classes.vocabulary

    @vocabulary.setter
    def vocabulary(self, text: ClassSource) -> None:
        self._classes = _Classes(self.read_classes(text))

    @property
    def takes_text(self) -> bool:
        """Whether the model can look for any classes, not only for those it was trained on."""
        return takes_classes(self.model)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the model has; all three unless its `answered_tasks` are fewer."""
        answered = answered_tasks(self.model)
        return tuple(task for task in SHOWN_TASKS if task in answered)

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
        tasks = parse_task(task, self.tasks)
        if batch_size < 1:
            raise ValueError(f"wanted a batch size from 1 on, got {batch_size}")
        classes = self._classes if text is None else _Classes(self.read_classes(text))
        return self._stream(images, tasks, classes, batch_size)

    def read_classes(self, text: ClassSource) -> Vocabulary:
        """The vocabulary of a class list, if the model takes any."""
        if not self.takes_text:
            raise ValueError(
                f"{self._system} knows its {len(self.vocabulary)} classes only; "
                "other classes need an open-vocabulary model such as FreeSeg"
            )
        return read_vocabulary(text)

    def _stream(
        self,
        images: Iterable[ImageSource],
        tasks: tuple[str, ...],
        classes: _Classes,
        batch_size: int,
    ) -> Iterator[Segmentation]:
        waiting: list[_Photo] = []
        for source in images:
            photo = self._read(source)
            if waiting and photo.pixels.shape != waiting[0].pixels.shape:
                yield from self._segment(waiting, tasks, classes)
                waiting = []
            waiting.append(photo)
            if len(waiting) == batch_size:
                yield from self._segment(waiting, tasks, classes)
                waiting = []
        if waiting:
            yield from self._segment(waiting, tasks, classes)

    def _segment(
        self, photos: Sequence[_Photo], tasks: tuple[str, ...], classes: _Classes
    ) -> list[Segmentation]:
        inputs = [self._request(photo, tasks, classes) for photo in photos]
        with torch.inference_mode():
            outputs = segment_within_memory(self.model, inputs, self.max_instances)
        missing = [task for task in tasks if _OUTPUT_KEYS[task] not in outputs[0]]
        if missing:
            raise ValueError(
                f"{self._system} gave no result for the task {missing[0]!r}, "
                f"only {', '.join(outputs[0]) or 'nothing'}"
            )
        wanted = [CERTAINTY_KEY, *(_OUTPUT_KEYS[task] for task in tasks)]
        return [
            Segmentation.from_detectron2(
                photo.image,
                {key: output[key] for key in wanted if key in output},
                classes.vocabulary,
                classes.category_ids,
                photo.file_name,
                knows=self.knows,
                unsure_below=self.unsure_below,
            )
            for photo, output in zip(photos, outputs)
        ]

    def _request(self, photo: _Photo, tasks: tuple[str, ...], classes: _Classes) -> dict[str, Any]:
        height, width = photo.image.shape[:2]
        request = {
            "image": photo.pixels,
            "height": height,
            "width": width,
            "tasks": tasks,
            LABEL_MAP_KEY: True,
            CERTAINTY_KEY: self.unsure_below > 0,
        }
        return {**request, "vocabulary": classes.vocabulary} if self.takes_text else request

    def _read(self, source: ImageSource) -> _Photo:
        """Reads a photo and resizes it as the test loader would."""
        loaded = load_source(source)
        image = read_photo(loaded, white_level=self.mapper.reader.white_level)
        inputs = T.AugInput(order_channels(image, self.mapper.image_format))
        try:
            self.mapper.augmentations(inputs)
        except ValueError:
            height, width = image.shape[:2]
            raise ImageError(
                loaded.name, f"is too elongated to resize ({width}x{height})"
            ) from None
        pixels = np.ascontiguousarray(inputs.image.transpose(2, 0, 1))
        return _Photo(image, torch.from_numpy(pixels), file_name_of(source))


def _vocabulary_of(model: nn.Module, cfg: CfgNode) -> Vocabulary:
    """The classes that a model says it predicts, else those that its configuration names."""
    own = getattr(model, "vocabulary", None)
    return own if isinstance(own, Vocabulary) else closed_vocabulary(cfg)


def parse_task(task: str | None, known: tuple[str, ...] = SHOWN_TASKS) -> tuple[str, ...]:
    """Returns the tasks of a name: itself, all known ones for "all", the first one for None."""
    if task is None:
        return known[:1]
    if task == "all":
        return known
    if task not in SHOWN_TASKS:
        raise ValueError(f"wanted the task {', '.join(SHOWN_TASKS)} or all, got {task!r}")
    if task not in known:
        raise ValueError(f"the model does not have the task {task!r}, only {', '.join(known)}")
    return (task,)


def _is_one_image(images: object) -> bool:
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray)):
        return True
    if isinstance(images, (Image.Image, Tensor)) or hasattr(images, "read"):
        return True
    return not isinstance(images, Iterable)  # then `read_image` says what is wrong with it

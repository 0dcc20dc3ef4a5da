"""What every system is: an image is prepared and encoded once, and answers any number of requests.

Shapes: B images, H W padded image size, h w size at which the model sees an image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from detectron2.structures import ImageList
from freeseg.inference import PhotoInput, groups_by_size
from freeseg.inference.everything import PointedWindow
from freeseg.structures import (
    Enrolled,
    EverythingSettings,
    Example,
    Frame,
    ImageFeatures,
    LearnedExample,
    PyramidFeatures,
    Request,
    Sample,
    SegmentationResult,
    SegmentationTarget,
    Takes,
    Task,
    Vocabulary,
    read_frame,
    read_request,
    read_sample,
    refuse_unanswered,
    takes_classes,
    write_result,
)


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """A batch as a backbone reads it.

    Attributes:
        pixels: Normalised and padded, [B, 3, H, W].
        images: As they were given, each [3, h, w], 0..255.
        frames: How each lies in its photo, padding included.
    """

    pixels: Tensor
    images: tuple[Tensor, ...]
    frames: tuple[Frame, ...]


Features = TypeVar("Features", bound=ImageFeatures)


class SegmentationSystem(nn.Module, Generic[Features]):
    """``prepare -> encode -> answer``, and Detectron2's contract on top of them.

    A system says what it `answers`, encodes images, answers requests about them and has losses.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    vocabulary: Vocabulary | None = None  # what it was trained on; None: it knows no classes

    answers: Mapping[Task, Takes] = {}  # what a prompt may say for every task that it has
    everything_settings = EverythingSettings()  # of those that take `everything`
    has_masks = True  # of instances and objects; else they are boxes
    sees_windows = False  # whether its results of a part of a photo lie where the part does

    def __init__(
        self, *, photo_input: PhotoInput, tasks: Sequence[str], ignore_label: int = 255
    ) -> None:
        """Sets what is common.

        Args:
            photo_input: How photos become images, and images a batch.
            tasks: Answered when an input names none.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__()
        self.photo_input = photo_input
        self.tasks = tuple(tasks)
        self.ignore_label = ignore_label
        mean, std = torch.tensor(photo_input.pixel_mean), torch.tensor(photo_input.pixel_std)
        self.register_buffer("pixel_mean", mean.view(-1, 1, 1), False)
        self.register_buffer("pixel_std", std.view(-1, 1, 1), False)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    @property
    def size_divisibility(self) -> int:
        return self.photo_input.size_divisibility

    def prepare(
        self, images: Sequence[Tensor], frames: Sequence[Frame] | None = None
    ) -> PreparedImages:
        """Normalises and pads images to the largest of them.

        Args:
            images: [3, h, w], 0..255, at the size that the model is to see.
            frames: How each lies in its photo, without padding; None: each is its photo.

        Raises:
            ValueError: A frame is not of its image, or of a part of a photo, of which the system
                knows nothing.
        """
        frames = frames or [Frame.of_whole((x.shape[-2], x.shape[-1])) for x in images]
        for image, frame in zip(images, frames):
            if any(side > given for side, given in zip(frame.model_size, image.shape[-2:])):
                raise ValueError(f"{frame} is not of an image of {tuple(image.shape[-2:])}")
            if not self.sees_windows and not frame.is_whole:
                raise ValueError(f"{type(self).__name__} sees whole photos, not {frame.window}")
        normalised = [
            (image.to(self.device) - self.pixel_mean) / self.pixel_std for image in images
        ]
        batch = ImageList.from_tensors(normalised, self.size_divisibility)
        padded_size = (batch.tensor.shape[-2], batch.tensor.shape[-1])
        return PreparedImages(
            batch.tensor,
            tuple(images),
            tuple(replace(frame, padded_size=padded_size) for frame in frames),
        )

    def encode(self, prepared: PreparedImages) -> Features:
        """What all requests about the images share, computed once."""
        raise NotImplementedError

    def answer(self, features: Features, requests: Sequence[Request]) -> list[SegmentationResult]:
        """Results of requests about encoded images, in their order, on the photos' grids.

        The requests are such as `check` lets pass; who calls this has to ask it.
        """
        raise NotImplementedError

    def enroll(self, examples: Sequence[Example | LearnedExample]) -> Enrolled:
        """What is the same of examples for all photos, of systems that take `examples`.

        Raises:
            ValueError: The system takes none, or they do not go together.
        """
        raise ValueError(f"{type(self).__name__} takes no examples")

    def pointed(self, features: Features, row: int) -> PointedWindow:
        """An encoded image that is pointed at everywhere, of systems that take `everything`."""
        raise NotImplementedError

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Weighted losses of annotated images by name.

        Raises:
            ValueError: The system has none.
        """
        raise ValueError(f"{type(self).__name__} has no losses here: it cannot be trained")

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> Any:
        """Detectron2's contract: losses when training, else one result dict per image.

        Args:
            batched_inputs: Each has ``image`` [3, H, W], 0..255; for training ``instances`` with
                ``gt_classes`` and ``gt_masks``, or ``sem_seg``, and what the system needs beside
                (``task``, ``dataset_name``); for inference optionally ``height`` and ``width`` of
                the output, ``tasks``, a selection of what the system answers, ``vocabulary`` or
                ``prompt``, ``label_map`` and ``certainty``.

        Returns:
            {name: loss}, or a list of dicts with ``sem_seg`` [K, H, W], or with ``label_map`` the
            labels int64 [H, W], which take little memory, ``instances``, ``panoptic_seg``
            (map int32 [H, W], segments) and ``objects``; with ``certainty`` that, in [0, 1].

        Raises:
            ValueError: Something is asked that the system does not answer or take.
        """
        if self.training:
            return self.losses([read_sample(x, self.ignore_label) for x in batched_inputs])
        return self.respond(batched_inputs, self.answer)

    def respond(
        self,
        batched_inputs: Sequence[dict[str, Any]],
        answer: Callable[[Features, Sequence[Request]], list[SegmentationResult]],
    ) -> list[dict[str, Any]]:
        """What `forward` gives for inference, with `answer` in place of the system's own."""
        takes_any = takes_classes(self)
        requests = [
            read_request(x, index, self.tasks, takes_classes=takes_any)
            for index, x in enumerate(batched_inputs)
        ]
        self.check(requests)
        frames = [read_frame(x) for x in batched_inputs]
        results: dict[int, dict[str, Any]] = {}
        # An image must not feel the padding that a larger one beside it would ask for.
        for group in groups_by_size(
            [self.photo_input.padded_size(frame.model_size) for frame in frames]
        ):
            images = [batched_inputs[index]["image"] for index in group]
            features = self.encode(self.prepare(images, [frames[index] for index in group]))
            asked = [replace(requests[index], index=row) for row, index in enumerate(group)]
            found = answer(features, asked)
            results.update(zip(group, map(write_result, found)))
        return [results[index] for index in range(len(batched_inputs))]

    def check(self, requests: Sequence[Request]) -> None:
        """Refuses what the system does not answer, before anything is computed.

        Raises:
            ValueError: See above; the message lists what it does answer or take.
        """
        refuse_unanswered(type(self).__name__, self.answers, requests)

    def target_counts(self, batched_inputs: Sequence[dict[str, Any]]) -> list[int]:
        """How many targets every annotated image has, without looking at it."""
        samples = [read_sample(x, self.ignore_label) for x in batched_inputs]
        return [self.count_targets(sample) for sample in samples]

    def count_targets(self, sample: Sample) -> int:
        """How many targets the losses have of one image."""
        return len(sample.labels())

    def encode_samples(self, samples: Sequence[Sample]) -> Features:
        """Features of the images of a training batch."""
        return self.encode(self.prepare([sample.image for sample in samples]))

    def targets(
        self, samples: Sequence[Sample], features: ImageFeatures
    ) -> list[SegmentationTarget]:
        """Ground truth at the padded size: ``instances``, else ``sem_seg``.

        Raises:
            ValueError: Instances have no masks.
            TypeError: Their masks are of an unknown kind.
        """
        return [sample.target(features.padded_size, self.device) for sample in samples]


class PyramidSystem(SegmentationSystem[PyramidFeatures]):
    """A backbone, and a head whose ``encode_image`` makes of its maps what requests share."""

    backbone: nn.Module
    sem_seg_head: Any

    def encode(self, prepared: PreparedImages) -> PyramidFeatures:
        """Backbone, and the part of the head that knows no request."""
        features: PyramidFeatures = self.sem_seg_head.encode_image(
            self.backbone(prepared.pixels),
            padded_size=prepared.frames[0].padded_size,
            image_sizes=[frame.model_size for frame in prepared.frames],
        )
        return features.with_frames(prepared.frames)

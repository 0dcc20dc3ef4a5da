"""SAM (Kirillov et al., ICCV 2023, arXiv 2304.02643): what is pointed at, without classes.

Shapes: B images, N objects, C channels, g side of the grid of patches.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.config import completed
from freeseg.inference import PhotoInput
from freeseg.inference.everything import PointedWindow, join_windows, look_at_window
from freeseg.names import register
from freeseg.structures import Frame, Request, Sample, SegmentationResult, Takes, Task
from freeseg.systems.sam.answers import found_objects
from freeseg.systems.sam.config import click_training, sam_parts
from freeseg.systems.sam.everything import pointed_window
from freeseg.systems.sam.features import EmbeddingFeatures
from freeseg.systems.sam.mask_decoder import DecodedMasks, MaskDecoder
from freeseg.systems.sam.prompt_encoder import PromptEncoder
from freeseg.systems.sam.prompts import PointPrompts
from freeseg.systems.sam.training import ClickTraining
from freeseg.systems.system import PreparedImages, SegmentationSystem

AT_ONCE = 8  # objects that are decoded together: more are slower on a CPU


@register(META_ARCH_REGISTRY)
class SAM(SegmentationSystem[EmbeddingFeatures]):
    """Image encoder, prompt encoder, mask decoder."""

    vocabulary = None
    sees_windows = True
    answers: Mapping[Task, Takes] = {
        Task.OBJECT: Takes(
            needs=frozenset({"points", "boxes", "masks", "everything"}), may=frozenset({"logits"})
        )
    }

    @configurable
    def __init__(
        self,
        *,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        photo_input: PhotoInput,
        training: ClickTraining | None = None,
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together.

        Args:
            image_encoder: Makes [B, C, g, g] of squares, or that and the details of
                `EmbeddingFeatures`.
            prompt_encoder: Of C channels.
            mask_decoder: Likewise.
            photo_input: How photos become images; its divisor is the side of the squares.
            training: How it is clicked at in training; None: as in the paper.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__(photo_input=photo_input, tasks=(Task.OBJECT,), ignore_label=ignore_label)
        self.click_training = training or ClickTraining()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = completed(cfg)
        photo_input = PhotoInput.from_config(cfg, cfg.MODEL.SAM.IMAGE_SIZE)
        return {
            **sam_parts(cfg),
            "photo_input": photo_input,
            "training": click_training(cfg),
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        }

    def check(self, requests: Sequence[Request]) -> None:
        """Refuses what SAM does not answer, and objects of which nothing is said.

        Raises:
            ValueError: See above.
        """
        super().check(requests)
        for marks in (request.prompt.marks for request in requests):
            for row, is_said in enumerate([] if marks is None else marks.is_said.tolist()):
                if not is_said:
                    raise ValueError(f"object {row} has no point, box or mask")

    def prepare(
        self, images: Sequence[Tensor], frames: Sequence[Frame] | None = None
    ) -> PreparedImages:
        """Normalises images and pads them to the square.

        Raises:
            ValueError: One does not fit into it.
        """
        side = self.size_divisibility
        for image in images:
            if max(image.shape[-2:]) > side:
                height, width = image.shape[-2:]
                raise ValueError(f"SAM sees {side} x {side} pixels, got {height} x {width}")
        return super().prepare(images, frames)

    def encode(self, prepared: PreparedImages) -> EmbeddingFeatures:
        """The embedding, which all prompts share."""
        found = self.image_encoder(prepared.pixels)
        embedding, *details = [found] if isinstance(found, Tensor) else found
        return EmbeddingFeatures(prepared.frames, embedding, tuple(details))

    def decode(
        self, features: EmbeddingFeatures, rows: Sequence[int], prompts: PointPrompts
    ) -> DecodedMasks:
        """All four masks of N objects and their qualities.

        Args:
            features: Of images.
            rows: The image of every object.
            prompts: Of the objects.
        """
        grid, side = features.embedding.shape[-2:], features.padded_size[0]
        positions = self.prompt_encoder.positions((grid[0], grid[1]))
        parts = []
        for start in range(0, max(len(prompts), 1), AT_ONCE):
            some, chosen = (
                prompts.chunk(start, start + AT_ONCE),
                list(rows[start : start + AT_ONCE]),
            )
            embedding, *details = maps = [each[chosen] for each in features.maps]
            encoded = self.prompt_encoder(some, side, maps)
            parts.append(self.mask_decoder(embedding, positions, encoded, details))
        return DecodedMasks(*(torch.cat(each) for each in zip(*parts)))

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Of clicks at what is annotated, whatever its class; see `ClickTraining`."""
        features = self.encode_samples(samples)
        decode = functools.partial(self.decode, features)
        height, width = (4 * side for side in features.embedding.shape[-2:])
        return self.click_training(decode, self.targets(samples, features), (height, width))

    def pointed(self, features: EmbeddingFeatures, row: int) -> PointedWindow:
        """An encoded image that is clicked at everywhere."""
        return pointed_window(features, row, self.prompt_encoder, self.mask_decoder)

    def answer(
        self, features: EmbeddingFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images; objects of one are decoded together."""
        return [self._result(features, request) for request in requests]

    def _result(self, features: EmbeddingFeatures, request: Request) -> SegmentationResult:
        frame, settings = features.frames[request.index], request.prompt.everything
        if settings is not None:
            found = look_at_window(self.pointed(features, request.index), settings.of_layer(0))
            return SegmentationResult(objects=join_windows([found], frame.photo_size, settings))
        prompts = PointPrompts.read(request.prompt, frame, features.embedding.shape[-1])
        prompts = prompts.to(self.device)
        decoded = self.decode(features, [request.index] * len(prompts), prompts)
        objects = found_objects(
            decoded,
            prompts.num_tokens,
            frame,
            wants_alternatives=request.wants.alternatives,
            many_prompts=self.mask_decoder.many_prompts,
        )
        result = SegmentationResult(objects=objects)
        if request.wants.certainty and len(objects):
            is_answer = objects.choices == 0
            result = replace(result, certainty=float(objects.scores[is_answer].mean()))
        return result

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
from freeseg.structures import (
    EverythingSettings,
    Frame,
    Request,
    Sample,
    SegmentationResult,
    Takes,
    Task,
)
from freeseg.systems.sam.answers import found_objects
from freeseg.systems.sam.config import click_training, everything_settings, sam_parts
from freeseg.systems.sam.everything import pointed_window
from freeseg.systems.sam.features import EmbeddingFeatures
from freeseg.systems.sam.mask_decoder import DecodedMasks, MaskDecoder
from freeseg.systems.sam.prompt_encoder import PromptEncoder
from freeseg.systems.sam.prompts import PointPrompts
from freeseg.systems.sam.text import PhraseEncoder
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
        everything: EverythingSettings | None = None,
        text: PhraseEncoder | None = None,
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
            everything: How it looks for everything where a caller does not say otherwise; None:
                the usual way.
            text: Reads phrases, of as many channels as the prompt encoder takes; None: nobody does.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__(photo_input=photo_input, tasks=(Task.OBJECT,), ignore_label=ignore_label)
        self.click_training = training or ClickTraining()
        self.everything_settings = everything or EverythingSettings()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        if hasattr(image_encoder, "backbone"):
            self._register_load_state_dict_pre_hook(_find_backbone)
        self.text = text
        if text is not None:
            takes = type(self).answers[Task.OBJECT]
            self.answers = {Task.OBJECT: replace(takes, needs=takes.needs | {"phrases"})}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = completed(cfg)
        photo_input = PhotoInput.from_config(cfg, cfg.MODEL.SAM.IMAGE_SIZE)
        return {
            **sam_parts(cfg),
            "photo_input": photo_input,
            "training": click_training(cfg),
            "everything": everything_settings(cfg),
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        }

    def check(self, requests: Sequence[Request]) -> None:
        """Refuses what SAM does not answer, and objects of which nothing is said.

        Raises:
            ValueError: See above.
        """
        super().check(requests)
        kinds = "point, box or mask" if self.text is None else "point, box, mask or phrase"
        for prompt in (request.prompt for request in requests):
            is_pointed = [False] * len(prompt)
            if prompt.marks is not None:
                is_pointed = prompt.marks.is_said.tolist()
            phrases = prompt.phrases or [None] * len(prompt)
            for row, (is_said, phrase) in enumerate(zip(is_pointed, phrases)):
                if not is_said and phrase is None:
                    raise ValueError(f"object {row} has no {kinds}")

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
        """Of prompts about what is annotated, whatever its class; see `ClickTraining`."""
        features = self.encode_samples(samples)
        decode = functools.partial(self.decode, features)
        height, width = (4 * side for side in features.embedding.shape[-2:])
        describe = None
        if self.text is not None:
            describe = functools.partial(self.text.of_objects, [sample.image for sample in samples])
        targets = self.targets(samples, features)
        return self.click_training(decode, targets, (height, width), describe)

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
        if self.text is not None and request.prompt.phrases:
            phrases = self.text.of_phrases(request.prompt.phrases)
            prompts = replace(prompts, phrases=phrases)
        decoded = self.decode(features, [request.index] * len(prompts), prompts)
        objects = found_objects(
            decoded,
            prompts.num_tokens,
            frame,
            wants_alternatives=request.wants.alternatives,
            many_prompts=0 if request.wants.single else self.mask_decoder.many_prompts,
        )
        result = SegmentationResult(objects=objects)
        if request.wants.certainty and len(objects):
            is_answer = objects.choices == 0
            result = replace(result, certainty=float(objects.scores[is_answer].mean()))
        return result


def _find_backbone(state: dict[str, Tensor], *_: Any) -> None:
    """Takes a backbone from weights of a system that has it elsewhere, such as Mask2Former."""
    own, alone = "image_encoder.backbone.", "backbone."
    if not any(key.startswith(own) for key in state):
        for key in [key for key in state if key.startswith(alone)]:
            state[own + key.removeprefix(alone)] = state.pop(key)

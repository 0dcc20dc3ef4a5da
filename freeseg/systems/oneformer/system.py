"""OneFormer (Jain et al., CVPR 2023, arXiv 2211.06220): one training, one model, three tasks.

Shapes: B images, T tasks of an image, Q queries, L tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from freeseg.config import completed, criterion_arguments
from freeseg.inference import PhotoInput, Thresholds
from freeseg.layers import MLP
from freeseg.names import register
from freeseg.structures import (
    MaskPrediction,
    PyramidFeatures,
    Request,
    Sample,
    SegmentationResult,
    SegmentationTarget,
    Task,
    Vocabulary,
)
from freeseg.systems.mask_system import ClosedMaskSystem, mask_system_arguments
from freeseg.systems.oneformer.config import (
    contrastive_arguments,
    task_conditioning_arguments,
    text_mapper_arguments,
)
from freeseg.systems.oneformer.criterion import ContrastiveSetCriterion
from freeseg.systems.oneformer.sentences import read_sentence, target_texts, task_sentence
from freeseg.systems.oneformer.text_encoder import CausalTextEncoder
from freeseg.text import tokenize
from freeseg.training import SetCriterion

TRAINING_ONLY = ("text_encoder.", "text_projector.", "prompt_ctx.")


@register(META_ARCH_REGISTRY)
class OneFormer(ClosedMaskSystem):
    """Mask2Former whose queries begin from a task token and, in training, learn from texts."""

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        sem_seg_head: nn.Module,
        criterion: nn.Module,
        vocabulary: Vocabulary,
        thresholds: Thresholds,
        tasks: Sequence[str],
        resize_masks_first: bool,
        photo_input: PhotoInput,
        task_mlp: nn.Module,
        text_encoder: nn.Module | None,
        text_projector: nn.Module | None,
        prompt_ctx: nn.Embedding | None,
        num_queries: int,
        task_tokens: int,
        text_tokens: int,
        single_task: str,
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together; those that are not named here are as in `Mask2Former`.

        Args:
            backbone: Detectron2 backbone.
            sem_seg_head: A `OneFormerHead`: also takes task tokens.
            criterion: `SetCriterion`, or one that takes queries and texts as well where there is a
                text encoder.
            vocabulary: The classes it predicts.
            thresholds: Of the post-processing.
            tasks: Answered when an input names none.
            resize_masks_first: See `MaskAnswers`.
            photo_input: How photos become images, and images a batch.
            task_mlp: Maps a task's token ids, as numbers [B, L], to task tokens [B, C].
            text_encoder: Maps token ids [N, L] to features; None without the contrastive loss.
            text_projector: Maps them to the width of the queries.
            prompt_ctx: Learned rows that every image's texts end with; None for none.
            num_queries: Q, with the task's.
            task_tokens: L of a task's sentence.
            text_tokens: L of a text.
            single_task: Task of every output; "" gives each output its own.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__(
            backbone=backbone,
            sem_seg_head=sem_seg_head,
            criterion=criterion,
            vocabulary=vocabulary,
            thresholds=thresholds,
            tasks=tasks,
            resize_masks_first=resize_masks_first,
            photo_input=photo_input,
            ignore_label=ignore_label,
        )
        self.task_mlp = task_mlp
        self.text_encoder = text_encoder
        self.text_projector = text_projector
        self.prompt_ctx = prompt_ctx
        self.num_queries = num_queries
        self.task_tokens = task_tokens
        self.text_tokens = text_tokens
        self.single_task = single_task

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = completed(cfg)
        conditioning = task_conditioning_arguments(cfg)
        contrastive = contrastive_arguments(cfg)
        criterion: nn.Module = (
            ContrastiveSetCriterion(**criterion_arguments(cfg), **contrastive)
            if contrastive["contrastive_weight"]
            else SetCriterion(**criterion_arguments(cfg))
        )
        return {
            **mask_system_arguments(cfg),
            "criterion": criterion,
            **_build_text_mapper(text_mapper_arguments(cfg)),
            **conditioning,
            "task_mlp": MLP(**conditioning["task_mlp"]),
        }

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Weighted losses of images annotated for the task that each one names."""
        tasks = [_trained_task(sample) for sample in samples]
        features = self.encode_samples(samples)
        output = self.sem_seg_head(features, self.embed_tasks(tasks))
        targets = self.targets(samples, features)
        if self.text_encoder is None:
            return self.criterion(output.predictions, targets)
        texts = self.embed_texts(tasks, targets)
        return self.criterion(output.predictions, targets, output.initial_queries, texts)

    def embed_tasks(self, tasks: Sequence[str]) -> Tensor:
        """Task tokens [B, C]: token ids taken for numbers, through an MLP."""
        sentences = [task_sentence(task) for task in tasks]
        tokens = tokenize(sentences, self.task_tokens).to(self.device)
        return self.task_mlp(tokens.float())

    def embed_texts(self, tasks: Sequence[str], targets: Sequence[SegmentationTarget]) -> Tensor:
        """What the queries of every image should say, [B, Q, C]: texts, then learned context."""
        assert self.text_encoder is not None
        assert self.text_projector is not None
        context = self.prompt_ctx
        num_texts = self.num_queries - (0 if context is None else context.num_embeddings)
        rows = [
            target_texts(task, target.labels.tolist(), self.vocabulary.names, num_texts)
            for task, target in zip(tasks, targets)
        ]
        number = {text: i for i, text in enumerate(dict.fromkeys(chain.from_iterable(rows)))}
        tokens = tokenize(list(number), self.text_tokens).to(self.device)
        features = self.text_projector(self.text_encoder(tokens))  # each distinct text once
        places = torch.tensor([[number[text] for text in row] for row in rows])
        texts = features[places.to(self.device)]  # [B, Q-N, C]
        if context is not None and context.embedding_dim != texts.shape[-1]:
            raise ValueError(
                f"learned contexts (TEXT_ENCODER.N_CTX {context.num_embeddings}) stand beside "
                f"projected texts: TEXT_ENCODER.WIDTH {context.embedding_dim} must be HIDDEN_DIM "
                f"{texts.shape[-1]} to train"
            )
        contexts = [] if context is None else [context.weight.expand(len(rows), -1, -1)]
        return torch.cat([texts, *contexts], dim=1)

    def check(self, requests: Sequence[Request]) -> None:
        super().check(requests)
        for request in requests:
            self._outputs_by_task(request)  # reads the task that it is to be decoded under

    def decode(
        self, features: PyramidFeatures, rows: Sequence[int], tasks: Sequence[Sequence[str]]
    ) -> MaskPrediction:
        """The final predictions [B * T, ...] of some images, each under its T tasks."""
        tokens = self.embed_tasks(list(chain.from_iterable(tasks)))
        return self.sem_seg_head.final(
            features.select(rows), tokens.unflatten(0, (len(rows), len(tasks[0])))
        )

    def answer(
        self, features: PyramidFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images.

        An output is decoded under its own task; under the request's where it has one.
        """
        asked = [self._outputs_by_task(request) for request in requests]
        results = [SegmentationResult(vocabulary=self.vocabulary) for _ in requests]
        for num_tasks in sorted({len(outputs) for outputs in asked}):
            numbers = [number for number, one in enumerate(asked) if len(one) == num_tasks]
            prediction = self.decode(
                features,
                [requests[number].index for number in numbers],
                [list(asked[number]) for number in numbers],
            )
            decoded = [
                (number, outputs) for number in numbers for outputs in asked[number].values()
            ]
            for row, (number, outputs) in enumerate(decoded):
                found = self.result(outputs, requests[number], prediction, row, features)
                results[number] = results[number].joined(found)
        return results

    def _outputs_by_task(self, request: Request) -> dict[str, list[Task]]:
        """Which outputs to read from the queries of which task."""
        single = self.single_task if request.under is None else read_sentence(request.under)
        by_task: dict[str, list[Task]] = {}
        for output in request.tasks:
            by_task.setdefault(single or output, []).append(output)
        return by_task

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Weights of the text mapper are no surprise to a model without one."""
        if self.text_encoder is None:
            names = tuple(prefix + name for name in TRAINING_ONLY)
            for key in [key for key in state_dict if key.startswith(names)]:
                del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _trained_task(sample: Sample) -> str:
    """The task that an input is annotated for; ``sem_seg`` alone says it.

    Raises:
        ValueError: It is not said.
    """
    if sample.task is None and sample.instances is not None:
        raise ValueError(
            "OneFormer is trained on inputs whose task says what their instances are: semantic, "
            "instance or panoptic. freeseg.data.SegmentationMapper sets it; Detectron2's "
            "DatasetMapper keeps that of a record"
        )
    return read_sentence(sample.task or Task.SEMANTIC)


def _build_text_mapper(arguments: dict[str, dict[str, Any]]) -> dict[str, nn.Module | None]:
    if not arguments:
        return {"text_encoder": None, "text_projector": None, "prompt_ctx": None}
    return {
        "text_encoder": CausalTextEncoder(**arguments["text_encoder"]),
        "text_projector": MLP(**arguments["text_projector"]),
        "prompt_ctx": nn.Embedding(**arguments["prompt_ctx"])
        if "prompt_ctx" in arguments
        else None,
    }

"""OneFormer (Jain et al., CVPR 2023, arXiv 2211.06220): one training, one model, three tasks.

Shapes: B images, Q queries, L tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.config import (
    contrastive_arguments,
    criterion_arguments,
    task_conditioning_arguments,
    text_mapper_arguments,
)
from freeseg.inference import check_tasks
from freeseg.layers import MLP
from freeseg.meta_arch.mask2former import Mask2Former
from freeseg.names import register
from freeseg.structures import ImageFeatures, SegmentationResult, SegmentationTarget
from freeseg.text import CausalTextEncoder, parse_task, target_texts, task_sentence, tokenize
from freeseg.training import ContrastiveSetCriterion

TRAINING_ONLY = ("text_encoder.", "text_projector.", "prompt_ctx.")


@register(META_ARCH_REGISTRY)
class OneFormer(Mask2Former):
    """Mask2Former whose queries begin from a task token and, in training, learn from texts."""

    sem_seg_head: Any  # OneFormerHead: also takes task tokens

    @configurable
    def __init__(
        self,
        *,
        task_mlp: nn.Module,
        text_encoder: nn.Module | None,
        text_projector: nn.Module | None,
        prompt_ctx: nn.Embedding | None,
        num_queries: int,
        task_tokens: int,
        text_tokens: int,
        single_task: str,
        **system: Any,
    ) -> None:
        """Puts the parts together.

        Args:
            task_mlp: Maps a task's token ids, as numbers [B, L], to task tokens [B, C].
            text_encoder: Maps token ids [N, L] to features; None without the contrastive loss.
            text_projector: Maps them to the width of the queries.
            prompt_ctx: Learned rows that every image's texts end with; None for none.
            num_queries: Q, with the task's.
            task_tokens: L of a task's sentence.
            text_tokens: L of a text.
            single_task: Task of every output; "" gives each output its own.
            **system: Arguments of `Mask2Former`; its criterion takes queries and texts as well
                when there is a text encoder.
        """
        super().__init__(**system)
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
        conditioning = task_conditioning_arguments(cfg)
        contrastive = contrastive_arguments(cfg)
        criterion: dict[str, Any] = {}
        if contrastive["contrastive_weight"]:
            criterion["criterion"] = ContrastiveSetCriterion(
                **criterion_arguments(cfg), **contrastive
            )
        return {
            **super().from_config(cfg),
            **criterion,
            **_build_text_mapper(text_mapper_arguments(cfg)),
            **conditioning,
            "task_mlp": MLP(**conditioning["task_mlp"]),
        }

    def losses(
        self, features: ImageFeatures, batched_inputs: Sequence[dict[str, Any]]
    ) -> dict[str, Tensor]:
        """Weighted losses of images annotated for the task that each one names."""
        tasks = [_trained_task(x) for x in batched_inputs]
        output = self.sem_seg_head(features, self.embed_tasks(tasks))
        targets = self.targets(batched_inputs, features)
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

    def segment(self, batched_inputs: Sequence[dict[str, Any]]) -> list[SegmentationResult]:
        """Results of images that are padded to one size, each encoded once for all its tasks.

        An output is decoded under its own task; under the input's ``task`` when it has one.
        """
        features = self.encode_image([x["image"] for x in batched_inputs])
        asked = [self._outputs_by_task(x) for x in batched_inputs]
        results = [SegmentationResult() for _ in batched_inputs]
        for num_tasks in sorted({len(outputs) for outputs in asked}):
            indices = [index for index, one in enumerate(asked) if len(one) == num_tasks]
            requests = [(index, task) for index in indices for task in asked[index]]
            tokens = self.embed_tasks([task for _, task in requests])
            prediction = self.sem_seg_head.final(
                features.select(indices), tokens.unflatten(0, (-1, num_tasks))
            )
            for row, (index, task) in enumerate(requests):
                wanted = {**batched_inputs[index], "tasks": asked[index][task]}
                result = self.postprocess(prediction, row, features, index, wanted)
                results[index] = results[index].joined(result)
        return results

    def _outputs_by_task(self, wanted: dict[str, Any]) -> dict[str, list[str]]:
        """Which outputs to read from the queries of which task."""
        outputs = wanted.get("tasks", self.tasks)
        check_tasks(outputs)
        single = parse_task(wanted["task"]) if "task" in wanted else self.single_task
        by_task: dict[str, list[str]] = {}
        for output in outputs:
            by_task.setdefault(single or output, []).append(output)
        return by_task

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Weights of the text mapper are no surprise to a model without one."""
        if self.text_encoder is None:
            names = tuple(prefix + name for name in TRAINING_ONLY)
            for key in [key for key in state_dict if key.startswith(names)]:
                del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _trained_task(annotated: Mapping[str, Any]) -> str:
    """The task that an input is annotated for; ``sem_seg`` alone says it.

    Raises:
        ValueError: It is not said.
    """
    if "task" not in annotated and "instances" in annotated:
        raise ValueError(
            "OneFormer is trained on inputs whose task says what their instances are: semantic, "
            "instance or panoptic. freeseg.data.SegmentationMapper sets it; Detectron2's "
            "DatasetMapper keeps that of a record"
        )
    return parse_task(annotated.get("task", "semantic"))


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

"""From class names and a task to text features: fixed templates, or FreeSeg's learned prompts.

Shapes: K names, L context length, W width of token embeddings, D width of features.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.text.encoder import TextEncoder
from freeseg.text.fingerprint import fingerprint

TASK_TEXTS = {  # as the release spells them, with the dot
    "semantic": "semantic segmentation.",
    "instance": "instance segmentation.",
    "panoptic": "panoptic segmentation.",
}
NAME_SLOT = "{}"
BATCH = 256  # texts that are encoded at once where no gradient is needed
PREFIX_STD = 0.02
TASK_SLOPE = 2  # `a` of the Kaiming start values of the task tokens


class PromptLearner(nn.Module, ABC):
    """Puts class names into sentences and encodes these; the encoder is not a part of it."""

    uses_task: bool  # whether features of one name differ between tasks

    @property
    def identity(self) -> str:
        """Changes whenever the features of some name may change."""
        return f"{type(self).__name__}-{fingerprint(self)}"

    @abstractmethod
    def forward(self, encoder: TextEncoder, names: Sequence[str], task: str) -> Tensor:
        """Unit vectors [K, D] of `names` under a task of `TASK_TEXTS`."""


class TemplatePrompts(PromptLearner):
    """The mean feature of fixed sentences such as "a photo of a {}."."""

    uses_task = False

    def __init__(self, templates: Sequence[str]) -> None:
        super().__init__()
        if not templates or not all(NAME_SLOT in template for template in templates):
            raise ValueError(f"wanted templates with {NAME_SLOT} in each, got {list(templates)}")
        self.templates = tuple(templates)

    @property
    def identity(self) -> str:
        return f"{type(self).__name__}-{json.dumps(self.templates)}"

    def forward(self, encoder: TextEncoder, names: Sequence[str], task: str) -> Tensor:
        del task
        total: Tensor | float = 0.0
        for template in self.templates:
            ids = encoder.tokenize([template.replace(NAME_SLOT, name) for name in names])
            parts = [encoder(part) for part in ids.to(encoder.device).split(BATCH)]
            total = total + F.normalize(torch.cat(parts), dim=-1)
        return F.normalize(torch.as_tensor(total), dim=-1)


class LearnedPrompts(PromptLearner):
    """Adaptive prompts (FreeSeg, arXiv 2303.17225, section 3.3): learned task and class tokens.

    Parity: the release puts the task before the start token. A sentence is

        task name, task tokens, start, class tokens, class name, suffix tokens, ".", end

    in the space of token embeddings. The task tokens are shared by all tasks.
    """

    suffix_prompt: nn.Parameter | None

    def __init__(
        self,
        *,
        width: int,
        num_class_tokens: int,
        num_task_tokens: int,
        num_suffix_tokens: int = 0,
        uses_task: bool = True,
    ) -> None:
        """Draws the tokens.

        Args:
            width: W of the encoder.
            num_class_tokens: Learned tokens before the class name.
            num_task_tokens: Learned tokens behind the task name.
            num_suffix_tokens: Learned tokens behind the class name; without them there is no such
                parameter.
            uses_task: False leaves the task out of the sentence.
        """
        super().__init__()
        self.uses_task = uses_task
        self.prefix_prompt = nn.Parameter(torch.empty(num_class_tokens, width))
        nn.init.normal_(self.prefix_prompt, std=PREFIX_STD)
        suffix = nn.Parameter(torch.empty(num_suffix_tokens, width)) if num_suffix_tokens else None
        if suffix is not None:
            nn.init.normal_(suffix, std=PREFIX_STD)
        self.register_parameter("suffix_prompt", suffix)
        task_tokens = torch.empty(num_task_tokens if uses_task else 0, width)
        if len(task_tokens):
            nn.init.kaiming_normal_(task_tokens, a=TASK_SLOPE)
        self.task_prompt = nn.Parameter(task_tokens)

    def forward(
        self,
        encoder: TextEncoder,
        names: Sequence[str],
        task: str,
        class_tokens: Tensor | None = None,
    ) -> Tensor:
        """Unit vectors [K, D] of `names` under a task.

        Args:
            encoder: Frozen; gradients pass through it to the tokens.
            names: Of the classes.
            task: A key of `TASK_TEXTS`.
            class_tokens: [n, W], used in place of the learned ones before the name.
        """
        head = self._head(encoder, task, class_tokens)  # [P, W]
        ids, ends = self._tail_ids(encoder, names, len(head))
        step = len(names) if torch.is_grad_enabled() else BATCH
        parts = [
            encoder.encode_embeddings(
                torch.cat([head.expand(len(some), -1, -1), self._tail(encoder, some, end)], dim=1),
                len(head) + end,
            )
            for some, end in zip(ids.split(step), ends.split(step))
        ]
        return F.normalize(torch.cat(parts), dim=-1)

    def _head(self, encoder: TextEncoder, task: str, class_tokens: Tensor | None) -> Tensor:
        """What all sentences begin with, [P, W]."""
        task_ids = encoder.word_ids(TASK_TEXTS[task]) if self.uses_task else []
        return torch.cat(
            [
                self._embed(encoder, task_ids),
                self.task_prompt,
                self._embed(encoder, encoder.start_ids),
                self.prefix_prompt if class_tokens is None else class_tokens,
            ]
        )

    def _tail(self, encoder: TextEncoder, ids: Tensor, ends: Tensor) -> Tensor:
        """What sentences end with, [K, l, W], suffix tokens in their place before the dot."""
        tail = encoder.embed_tokens(ids)
        if self.suffix_prompt is None:
            return tail
        first = ends - len(encoder.word_ids(".")) - len(self.suffix_prompt)
        places = first[:, None] + torch.arange(len(self.suffix_prompt), device=ends.device)
        rows = torch.arange(len(ids), device=ends.device)[:, None]
        suffix = self.suffix_prompt.to(tail.dtype).expand(len(ids), -1, -1)
        return tail.index_put((rows, places), suffix)

    def _embed(self, encoder: TextEncoder, ids: Sequence[int]) -> Tensor:
        rows = torch.tensor([list(ids)], dtype=torch.int64, device=encoder.device)
        return encoder.embed_tokens(rows)[0]

    def _tail_ids(
        self, encoder: TextEncoder, names: Sequence[str], head_length: int
    ) -> tuple[Tensor, Tensor]:
        """Ids [K, l] of names, dot, end and padding, and the place [K] of the end in them.

        Padding stands for the suffix tokens. The longest name has no other; l is at most L - P.
        """
        suffix = [encoder.pad_id] * (0 if self.suffix_prompt is None else len(self.suffix_prompt))
        behind = [*suffix, *encoder.word_ids("."), encoder.end_id]
        room = encoder.context_length - head_length - len(behind)
        if room < 1:
            raise ValueError(
                f"prompts of {head_length + len(suffix)} tokens leave no room for a class name: "
                f"the text encoder reads {encoder.context_length}"
            )
        rows = [[*encoder.fit_words(name, room), *behind] for name in names]
        ends = torch.tensor([len(row) - 1 for row in rows])
        ids = torch.full((len(rows), int(ends.max()) + 1), encoder.pad_id, dtype=torch.int64)
        for line, row in zip(ids, rows):
            line[: len(row)] = torch.tensor(row)
        return ids.to(encoder.device), ends.to(encoder.device)

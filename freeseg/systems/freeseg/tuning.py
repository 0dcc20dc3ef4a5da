"""Test-time prompt tuning (FreeSeg, arXiv 2303.17225, section 3.5), which the release lacks.

Shapes: N proposals, U unseen classes, T texts of all classes, D width of text features,
n W class tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from freeseg.modeling import class_logits
from freeseg.structures import Vocabulary
from freeseg.text import ClipAdapter

CLASS_TOKENS = "prefix_prompt"  # of the learned prompts: what is adapted
ClassLogits = Callable[[Tensor], Tensor]  # class tokens [n, W] -> scores [N, U]


@dataclass(frozen=True)
class TuningSettings:
    """How class tokens are adapted.

    Attributes:
        num_steps: Gradient steps per image.
        learning_rate: Of AdamW.
        keep_ratio: Share of the proposals that is used: those of lowest entropy.
    """

    num_steps: int = 1
    learning_rate: float = 1e-3
    keep_ratio: float = 0.3

    def __post_init__(self) -> None:
        if self.num_steps < 0 or not 0 < self.keep_ratio <= 1:
            raise ValueError(
                "wanted at least 0 steps and a keep ratio in (0, 1], "
                f"got {self.num_steps} and {self.keep_ratio}"
            )


def tune_class_tokens(start: Tensor, logits: ClassLogits, settings: TuningSettings) -> Tensor:
    """Class tokens under which the confident proposals are surer of their unseen class.

    Proposals of high entropy are dropped before the first step. Only the returned copy changes.

    Args:
        start: [n, W].
        logits: Scores [N, U] of N > 0 proposals over the unseen classes, differentiable.
        settings: Steps, rate and share.

    Returns:
        [n, W] without gradient.
    """
    with torch.inference_mode(False), torch.enable_grad():
        tokens = start.detach().clone().requires_grad_()
        optimizer = torch.optim.AdamW([tokens], settings.learning_rate, weight_decay=0.0)
        kept: Tensor | None = None
        for _ in range(settings.num_steps):
            entropies = entropy(logits(tokens))  # [N]
            if kept is None:
                count = max(1, round(settings.keep_ratio * len(entropies)))
                kept = entropies.detach().argsort()[:count]
            optimizer.zero_grad()
            entropies[kept].mean().backward(inputs=[tokens])
            optimizer.step()
        return tokens.detach()


def entropy(logits: Tensor) -> Tensor:
    """Entropy [N] in nats of the softmax of every row [N, U]."""
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


class PromptTuner:
    """Adapts the class tokens to test images.

    Every image begins with the model's own tokens, or, `per_dataset`, with what the images since
    the last `clear` have made of them. The model's own are never written to.
    """

    def __init__(self, settings: TuningSettings, *, per_dataset: bool = False) -> None:
        self.settings = settings
        self.per_dataset = per_dataset
        self._kept: Tensor | None = None

    def __call__(
        self,
        adapter: ClipAdapter,
        vocabulary: Vocabulary,
        task: str,
        proposals: Tensor,
        logit_scale: float,
    ) -> Tensor:
        """Features [T, D] of the classes' texts, of prompts that were adapted to an image.

        Args:
            adapter: With learned prompts.
            vocabulary: The K classes; those that are not `is_seen` count.
            task: Of the prompts.
            proposals: Embeddings [N, D] of what the image shows.
            logit_scale: The model's factor of cosines.
        """
        unseen = vocabulary.select(vocabulary.unseen_classes())

        def logits(tokens: Tensor) -> Tensor:
            features = adapter.class_features(unseen.texts, task, class_tokens=tokens)
            return class_logits(unseen, proposals.clone(), features, logit_scale)

        own: Tensor = adapter.prompt_learner.get_parameter(CLASS_TOKENS)
        tokens = own.detach() if self._kept is None else self._kept
        if len(unseen) > 1 and len(proposals):
            tokens = tune_class_tokens(tokens, logits, self.settings)
        if self.per_dataset:
            self._kept = tokens
        return adapter.class_features(vocabulary.texts, task, class_tokens=tokens)

    def clear(self) -> None:
        """Forgets the images so far."""
        self._kept = None

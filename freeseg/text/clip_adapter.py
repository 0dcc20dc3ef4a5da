"""Features of class names under a task, and of "no object", by a frozen text encoder.

Shapes: K classes, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.text.cache import TextFeatureCache, TextKey
from freeseg.text.encoder import TextEncoder
from freeseg.text.prompting import PromptLearner
from freeseg.text.weights import keep_own_encoder


class ClipAdapter(nn.Module):
    """A frozen encoder, a prompt learner and the feature of "no object", named as in the release.

    The prompt stage, which knows no "no object", has `has_void` False. A checkpoint without the
    encoder leaves it as it was built; with `saves_encoder` False, checkpoints are written so.
    """

    non_object_embedding: Tensor

    def __init__(
        self,
        *,
        clip_model: TextEncoder,
        prompt_learner: PromptLearner,
        has_void: bool = True,
        saves_encoder: bool = True,
        cache: TextFeatureCache | None = None,
    ) -> None:
        super().__init__()
        self.cache = cache or TextFeatureCache()
        self.clip_model = clip_model
        self.prompt_learner = prompt_learner
        void = nn.Parameter(torch.randn(1, clip_model.dim) * clip_model.width**-0.5)
        self.register_parameter("non_object_embedding", void if has_void else None)
        keep_own_encoder(self, "clip_model", saves_it=saves_encoder)

    def class_features(self, names: Sequence[str], task: str, **prompt: Any) -> Tensor:
        """Unit vectors [K, D] of class names under a task.

        Args:
            names: Of the classes.
            task: Of the prompts.
            **prompt: Anything to be used in place of the learned prompts.
        """
        learner = self.prompt_learner
        is_training = any(weight.requires_grad for weight in learner.parameters())
        if prompt or (is_training and torch.is_grad_enabled()):
            return learner(self.clip_model, names, task, **prompt)
        key = TextKey(
            encoder=self.clip_model.identity,
            prompts=learner.identity,
            task=task if learner.uses_task else "",
            texts=tuple(names),
        )
        return self.cache.get(
            key, lambda: learner(self.clip_model, names, task), self.clip_model.device
        )

    def with_void(self, class_features: Tensor) -> Tensor:
        """The features [K+1, D] of a classifier, "no object" last."""
        return torch.cat([class_features, F.normalize(self.non_object_embedding, dim=-1)])

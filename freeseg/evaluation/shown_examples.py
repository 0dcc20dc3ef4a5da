"""A model as few-shot evaluations see it that follows examples.

Shapes: H W size of a query.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from freeseg.structures import PROMPT_KEY, Example, Prompt, Task, read_output


class ShownExamples(nn.Module):
    """Answers episodes by what a system finds of what their supports show."""

    def __init__(self, system: nn.Module, image_format: str = "RGB") -> None:
        """Wraps a system that takes examples.

        Args:
            system: See above.
            image_format: Channel order of the episodes' images.
        """
        super().__init__()
        self.system = system
        self.image_format = image_format
        self.train(system.training)

    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One dict with ``mask`` bool [H, W] per episode.

        Args:
            batched_inputs: Each has ``image`` [3, H, W] and ``supports``: images [3, h, w] and
                masks uint8 [h, w], whose 1 is the class.

        Raises:
            ValueError: An episode has no supports.
        """
        asked = [self._asked(episode) for episode in batched_inputs]
        found = [read_output(output).objects for output in self.system(asked)]
        return [{"mask": one.masks.any(0)} for one in found]  # type: ignore[union-attr]

    def _asked(self, episode: Mapping[str, Any]) -> dict[str, Any]:
        if not episode["supports"]:
            raise ValueError("a model that follows examples needs --shots of 1 or more")
        prompt = Prompt(examples=tuple(self._example(one) for one in episode["supports"]))
        kept = {key: episode[key] for key in ("image", "height", "width")}
        return {**kept, "tasks": (Task.OBJECT,), PROMPT_KEY: prompt}

    def _example(self, support: Mapping[str, Any]) -> Example:
        image = support["image"] if self.image_format == "RGB" else support["image"].flip(0)
        return Example(image, (support["mask"] == 1)[None], ids=torch.ones(1, dtype=torch.int64))

"""Prompt tuning over a whole test set: what is learned from an image is where the next begins."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import nn

from detectron2.config import CfgNode
from freeseg.systems import FreeSeg
from freeseg.systems.freeseg.tuning import PromptTuner


class DatasetTuning(nn.Module):
    """Answers as the system it wraps, whose class tokens go on from image to image.

    A switch to training or evaluation, with which every test set begins, makes them begin anew.
    """

    def __init__(self, model: FreeSeg, tuner: PromptTuner) -> None:
        """Wraps a system, on which nothing is kept; the tuner is one `per_dataset`."""
        super().__init__()
        self.model = model
        self.tuner = tuner

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One result dict per image."""
        answer = functools.partial(self.model.answer_tuned, tuner=self.tuner)
        return self.model.respond(batched_inputs, answer)

    def train(self, mode: bool = True) -> DatasetTuning:
        """Also forgets the images so far."""
        self.tuner.clear()
        return super().train(mode)


def tuned_over_dataset(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """The model as TEST.PROMPT_TUNING.PER_DATASET evaluates it; itself where that says nothing."""
    system = getattr(model, "module", model)
    if not isinstance(system, FreeSeg) or system.tuner is None:
        return model
    if not cfg.TEST.PROMPT_TUNING.PER_DATASET:
        return model
    return DatasetTuning(system, PromptTuner(system.tuner.settings, per_dataset=True)).eval()

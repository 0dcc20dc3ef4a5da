"""A tuned prompt: the two pictures of an example learn, the network stays (section 3.3).

Shapes: B queries, S side of a square.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from freeseg.structures import LearnedExample
from freeseg.systems.seggpt.system import SegGPT
from freeseg.systems.seggpt.training import SEMANTIC
from freeseg.systems.seggpt.tuning import tuning_loss

OPTIMIZERS = ("adamw", "sgd")
LOG_EVERY = 20  # steps

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PaintedQueries:
    """Photos, and how they are to be painted.

    Attributes:
        pictures: Normalised [B, 3, S, S].
        truth: Likewise.
        weights: Of the pixels of `truth`, [B, 3, S, S]; 0 where nobody knows.
    """

    pictures: Tensor
    truth: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> PaintedQueries:
        """The same on another device."""
        return PaintedQueries(*(each.to(device) for each in vars(self).values()))


@dataclass(frozen=True)
class TuningSettings:
    """How long and how fast.

    Attributes:
        steps: Of the optimizer.
        queries: B.
        learning_rate: Of the first step, in normalised units; it falls with a cosine. Of two
            pictures it is much larger than of weights.
        optimizer: "adamw" or "sgd".
        weight_decay: Of AdamW; it draws both pictures towards a mean grey.
        seed: Of the queries and of the start.
    """

    steps: int = 400
    queries: int = 4
    learning_rate: float = 0.1
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "queries"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise ValueError(
                "the learning rate must be above 0 and the weight decay 0 or more, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"an optimizer is {' or '.join(OPTIMIZERS)}, got {self.optimizer!r}")

    def build_optimizer(self, pictures: list[Tensor]) -> torch.optim.Optimizer:
        """Of the image and the target."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(pictures, self.learning_rate)
        return torch.optim.AdamW(pictures, self.learning_rate, weight_decay=self.weight_decay)


def tune_example(
    model: SegGPT,
    start: LearnedExample,
    batches: Iterable[PaintedQueries],
    settings: TuningSettings,
) -> LearnedExample:
    """An example under which the model paints queries as they are to be painted.

    Args:
        model: Its weights stay as they are.
        start: Where the pictures begin; all else of it is kept.
        batches: One for every step.
        settings: How long and how fast.

    Raises:
        ValueError: The loss is no number any more.
    """
    pictures = [
        each.detach().to(model.device).clone().requires_grad_()
        for each in (start.image, start.target)
    ]
    optimizer = settings.build_optimizer(pictures)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)
    begun, recent = time.perf_counter(), []
    with frozen(model):
        for step, queries in zip(range(1, settings.steps + 1), batches):
            loss = _loss(model, pictures, queries.to(model.device))
            recent.append(_finite(loss, step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % LOG_EVERY == 0 or step == settings.steps:
                logger.info(
                    "step %d of %d: loss %.4f, %.0f s",
                    *(step, settings.steps, sum(recent) / len(recent)),
                    time.perf_counter() - begun,
                )
                recent = []
    image, target = (each.detach().cpu() for each in pictures)
    return replace(start, image=image, target=target)


@torch.no_grad()
def mean_loss(model: SegGPT, example: LearnedExample, batches: Iterable[PaintedQueries]) -> float:
    """The mean over batches of what `tune_example` makes smaller."""
    pictures = [each.to(model.device) for each in (example.image, example.target)]
    with frozen(model):
        losses = [float(_loss(model, pictures, each.to(model.device))) for each in batches]
    return sum(losses) / len(losses)


@contextlib.contextmanager
def frozen(model: SegGPT) -> Iterator[None]:
    """A model in evaluation whose weights take no gradients; afterwards it is as it was."""
    learning = [each for each in model.parameters() if each.requires_grad]
    was_training = model.training
    model.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        model.train(was_training)
        for parameter in learning:
            parameter.requires_grad_(True)


def _loss(model: SegGPT, pictures: list[Tensor], queries: PaintedQueries) -> Tensor:
    image, target = pictures
    shown = (queries.pictures, queries.truth, queries.weights)
    return tuning_loss(model, image, target, *shown, kind=SEMANTIC)


def _finite(loss: Tensor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ValueError(f"the loss of step {step} is {value}: try a smaller learning rate")
    return value

"""Training steps whose batch goes through the model in parts, for memory's sake."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.engine import AMPTrainer, SimpleTrainer
from freeseg.training import accumulated

Batch = Sequence[dict[str, Any]]


def accumulate(
    model: nn.Module,
    batch: Batch,
    num_parts: int,
    backward: Callable[[Tensor], Any],
    *,
    precision: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Adds up the gradients of a batch part by part, and returns the losses of the whole.

    Normalisers of a model that tells its ``target_counts`` are those of the whole batch, so that
    the gradient is the whole batch's. Losses of any other model are averaged over the parts. A
    loss that compares the images of a batch with each other (the query-text contrastive one) sees
    a part only. Processes of a distributed job exchange gradients once, with the last part.

    Args:
        model: Gives {name: loss}.
        batch: Its length is a multiple of `num_parts`.
        num_parts: 1 or more.
        backward: Is called with the total loss of each part.
        precision: Of CUDA's automatic mixed precision; None is without.
    """
    if num_parts < 1 or len(batch) % num_parts:
        raise ValueError(
            f"SOLVER.ACCUMULATION_STEPS {num_parts} must divide the images of a process, "
            f"of which a batch has {len(batch)}"
        )
    size = len(batch) // num_parts
    counts = getattr(getattr(model, "module", model), "target_counts", None)
    known = None if counts is None else counts(batch)
    sums: dict[str, Tensor] = {}
    for part in range(num_parts):
        is_last = part == num_parts - 1
        silent = isinstance(model, DistributedDataParallel) and not is_last
        with model.no_sync() if silent else contextlib.nullcontext():  # type: ignore[operator]
            autocast = torch.autocast("cuda", dtype=precision, enabled=precision is not None)
            with accumulated(known, num_parts), autocast:
                losses = model(batch[part * size : (part + 1) * size])
            losses = {name: loss / num_parts for name, loss in losses.items()}
            backward(torch.stack([loss.sum() for loss in losses.values()]).sum())
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0) + loss.detach()
    return sums


class AccumulatingTrainer(SimpleTrainer):
    """Detectron2's SimpleTrainer with every batch in `num_parts` parts."""

    def __init__(self, *arguments: Any, num_parts: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.num_parts = num_parts

    def run_step(self) -> None:
        """Trains on the next batch."""
        data, data_time = _next_batch(self)
        self.optimizer.zero_grad()
        losses = accumulate(self.model, data, self.num_parts, lambda loss: loss.backward())
        self.after_backward()
        self._write_metrics(losses, data_time)
        self.optimizer.step()


class AccumulatingAMPTrainer(AMPTrainer):
    """Detectron2's AMPTrainer with every batch in `num_parts` parts."""

    def __init__(self, *arguments: Any, num_parts: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.num_parts = num_parts

    def run_step(self) -> None:
        """Trains on the next batch."""
        data, data_time = _next_batch(self)
        self.optimizer.zero_grad()
        losses = accumulate(
            self.model,
            data,
            self.num_parts,
            lambda loss: self.grad_scaler.scale(loss).backward(),
            precision=self.precision,
        )
        self.after_backward()
        self._write_metrics(losses, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()


def _next_batch(trainer: SimpleTrainer) -> tuple[Batch, float]:
    start = time.perf_counter()
    data = next(trainer._data_loader_iter)
    return data, time.perf_counter() - start

"""Training hooks that survive a kill: metric history, metric files, best model, batch norms."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from freeseg.files import write_text

SMOOTHING_WINDOW = 20  # iterations over which Detectron2's writers take the median of a loss


class MetricHistory(HookBase):
    """Carries the recent values of smoothed metrics through a checkpoint.

    Writers report the median of the last iterations; without the values from before the kill, a
    resumed run with equal losses would report different ones. Timings are measured anew.
    """

    def __init__(self) -> None:
        self._restored: dict[str, list[list[float]]] = {}

    def before_train(self) -> None:
        if self.trainer.start_iter >= self.trainer.max_iter:
            return  # nothing to smooth, and a writer would report the old values again
        for name, values in self._restored.items():
            for value, iteration in values:
                self.trainer.storage.put_scalar(name, value, cur_iter=int(iteration))

    def state_dict(self) -> dict[str, Any]:
        storage = getattr(self.trainer, "storage", None)
        if storage is None:  # nothing was trained yet
            return {}
        recent = {
            name: [[float(value), int(step)] for value, step in buffer.values()[-SMOOTHING_WINDOW:]]
            for name, buffer in storage.histories().items()
            if storage.smoothing_hints()[name] and not name.endswith("time")
        }
        return {"recent": recent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._restored = state["recent"]


class MetricsWriter(HookBase):
    """Writes all metrics every `period` iterations, after each evaluation and at the end.

    Put it before the checkpointing hook: what a checkpoint's past has measured is then on disk,
    and `forget_metrics_after` removes the rest when that checkpoint is resumed.
    """

    def __init__(self, writers: Sequence[EventWriter], period: int, eval_period: int) -> None:
        if period < 1:
            raise ValueError(f"SOLVER.LOG_PERIOD must be at least 1, got {period}")
        self._writers = writers
        self._periods = [period, eval_period] if eval_period > 0 else [period]

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or any(done % period == 0 for period in self._periods):
            self._write()

    def after_train(self) -> None:
        self._write()  # results of the evaluation after the last iteration
        for writer in self._writers:
            writer.close()

    def _write(self) -> None:
        for writer in self._writers:
            writer.write()


def forget_metrics_after(metrics_file: Path, iteration: int) -> None:
    """Cuts a JSON-lines metrics file before its first line that is later than `iteration`.

    Also drops a last line that a kill left incomplete. The file is shortened in place since a
    writer already has it open.
    """
    if not metrics_file.exists():
        return
    kept = 0
    with metrics_file.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n") or _iteration_of(line) > iteration:
                break
            kept += len(line)
    os.truncate(metrics_file, kept)


def _iteration_of(line: bytes) -> float:
    try:
        return float(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # not a metrics line: nothing from here on can be trusted


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's best-model keeper that remembers the best value across a resume.

    ``model_best.json`` says what the best is of. The evaluation after the last iteration is in no
    checkpoint: a finished run that goes on knows its value from there. It is a hook of every
    process: all save a sharded model together.
    """

    best_metric: float | None

    def __init__(self, period: int, checkpointer: Any, metric: str, folder: Path) -> None:
        super().__init__(period, checkpointer, metric)
        self._record = folder / "model_best.json"

    def before_train(self) -> None:
        if self.trainer.start_iter == 0:
            return
        name, value, iteration = comm.all_gather(self._recorded())[0]
        is_of_the_end = (name, iteration) == (self._val_metric, self.trainer.start_iter)
        if is_of_the_end and (self.best_metric is None or value > self.best_metric):
            self.best_metric, self.best_iter = value, iteration

    def after_step(self) -> None:
        if self.trainer.iter == 0 and comm.is_main_process():
            self._record.unlink(missing_ok=True)  # of another training
        super().after_step()

    def _best_checking(self) -> None:
        name, storage, before = self._val_metric, self.trainer.storage, self.best_metric
        latest = comm.all_gather(storage.latest().get(name))[0]
        if latest is not None and not comm.is_main_process():  # which alone knows the results
            storage.put_scalar(name, latest[0], cur_iter=int(latest[1]))
        super()._best_checking()
        if self.best_metric != before and comm.is_main_process():
            record = {"metric": name, "value": self.best_metric, "iteration": self.best_iter}
            text = json.dumps(record) + "\n"
            write_text(self._record, text)

    def _recorded(self) -> tuple[Any, ...]:
        try:
            recorded = json.loads(self._record.read_text())
            return recorded["metric"], recorded["value"], recorded["iteration"]
        except (OSError, ValueError, KeyError, TypeError):
            return None, None, None

    def state_dict(self) -> dict[str, Any]:
        return {
            "best_metric": self.best_metric,
            "best_iter": self.best_iter,
            "name": self._val_metric,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        name, value = state.get("name", self._val_metric), state["best_metric"]
        if name != self._val_metric:
            logging.getLogger(__name__).warning(
                "the best model is now that of %s, was that of %s", self._val_metric, name
            )
            return
        self.best_metric, self.best_iter = value, state["best_iter"]
        if value is not None:
            logging.getLogger(__name__).info(
                "Best model so far: %.4f at iteration %d", value, self.best_iter
            )


class PreciseBatchNorm(hooks.PreciseBN):
    """Detectron2's precise batch norm over the same batches each time, resumed or not."""

    def update_stats(self) -> None:
        self._data_iter = None  # Detectron2 would go on where the last round ended
        super().update_stats()

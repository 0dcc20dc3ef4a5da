"""Hooks for timing, writing, checkpoints, schedules and evaluation."""

from __future__ import annotations

import datetime
import itertools
import logging
import math
import operator
import time
from collections import Counter

from fvcore.common.checkpoint import PeriodicCheckpointer as _PeriodicCheckpointer
from fvcore.common.param_scheduler import ParamScheduler
from fvcore.common.timer import Timer
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats

import detectron2.utils.comm as comm
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.solver import LRMultiplier
from detectron2.solver import LRScheduler as _TorchLRScheduler
from detectron2.utils.events import EventStorage, EventWriter

from .train_loop import HookBase

__all__ = [
    "BestCheckpointer",
    "CallbackHook",
    "EvalHook",
    "IterationTimer",
    "LRScheduler",
    "PeriodicCheckpointer",
    "PeriodicWriter",
    "PreciseBN",
]


class CallbackHook(HookBase):
    """Calls functions with the trainer as their argument."""

    def __init__(self, *, before_train=None, after_train=None, before_step=None, after_step=None):
        self._callbacks = {
            "before_train": before_train,
            "after_train": after_train,
            "before_step": before_step,
            "after_step": after_step,
        }

    def before_train(self):
        self._call("before_train")

    def after_train(self):
        self._call("after_train")
        self._callbacks = {}  # they may hold the trainer, which would be a cycle

    def before_step(self):
        self._call("before_step")

    def after_step(self):
        self._call("after_step")

    def _call(self, name):
        if self._callbacks.get(name) is not None:
            self._callbacks[name](self.trainer)


class IterationTimer(HookBase):
    """Puts the seconds of each step as "time" and logs a summary; register it first."""

    def __init__(self, warmup_iter=3):
        """The first ``warmup_iter`` iterations are not measured."""
        self._warmup_iter = warmup_iter
        self._start_time = time.perf_counter()
        self._step_timer = Timer()
        self._total_timer = Timer()  # of steps alone

    def before_train(self):
        self._start_time = time.perf_counter()
        self._total_timer.reset()
        self._total_timer.pause()

    def before_step(self):
        self._step_timer.reset()
        self._total_timer.resume()

    def after_step(self):
        done = self.trainer.storage.iter + 1 - self.trainer.start_iter
        if done < self._warmup_iter:
            self._start_time = time.perf_counter()
            self._total_timer.reset()
        else:
            self.trainer.storage.put_scalars(time=self._step_timer.seconds())
        self._total_timer.pause()

    def after_train(self):
        logger = logging.getLogger(__name__)
        total = time.perf_counter() - self._start_time
        in_steps = self._total_timer.seconds()
        done = self.trainer.storage.iter + 1 - self.trainer.start_iter - self._warmup_iter
        if done > 0 and in_steps > 0:
            logger.info(
                f"Overall training speed: {done} iterations in {_clock(in_steps)} "
                f"({in_steps / done:.4f} s / it)"
            )
        logger.info(f"Total training time: {_clock(total)} ({_clock(total - in_steps)} on hooks)")


class PeriodicWriter(HookBase):
    """Lets writers write every ``period`` iterations and at the end."""

    def __init__(self, writers, period=20):
        """``writers`` are EventWriters."""
        for writer in writers:
            assert isinstance(writer, EventWriter), writer
        self._writers = writers
        self._period = period

    def after_step(self):
        if _is_due(self.trainer, self._period) or _is_last(self.trainer):
            for writer in self._writers:
                writer.write()

    def after_train(self):
        for writer in self._writers:
            writer.write()  # what other hooks put after the last step
            writer.close()


class PeriodicCheckpointer(_PeriodicCheckpointer, HookBase):
    """fvcore's PeriodicCheckpointer as a hook: every ``period`` iterations and after the last."""

    def before_train(self):
        self.max_iter = self.trainer.max_iter

    def after_step(self):
        self.step(self.trainer.iter)


class BestCheckpointer(HookBase):
    """Saves a checkpoint when a metric is better than ever; register it behind the EvalHook."""

    def __init__(self, eval_period, checkpointer, val_metric, mode="max", file_prefix="model_best"):
        """Set what is best.

        Args:
            eval_period: that of the EvalHook.
            checkpointer: saves the checkpoints.
            val_metric: name of the metric, such as "bbox/AP50".
            mode: "max" or "min".
            file_prefix: name of the checkpoint.
        """
        assert mode in ("max", "min"), f"mode must be max or min, not {mode!r}"
        self._logger = logging.getLogger(__name__)
        self._period = eval_period
        self._checkpointer = checkpointer
        self._val_metric = val_metric
        self._compare = operator.gt if mode == "max" else operator.lt
        self._file_prefix = file_prefix
        self.best_metric = None
        self.best_iter = None

    def after_step(self):
        if _is_due(self.trainer, self._period) and not _is_last(self.trainer):
            self._best_checking()

    def after_train(self):
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self._best_checking()

    def _best_checking(self):
        latest = self.trainer.storage.latest().get(self._val_metric)
        if latest is None:
            self._logger.warning(
                f"Given val metric {self._val_metric} does not seem to be computed/stored. "
                "Will not be checkpointing based on it."
            )
            return
        metric, iteration = latest
        before = self.best_metric
        report = f"{self._val_metric} is {metric:.5f} after iteration {iteration}"
        if before is not None:
            report += f"; the best before was {before:.5f} after iteration {self.best_iter}"
        if not math.isfinite(metric) or (before is not None and not self._compare(metric, before)):
            self._logger.info(f"Not saving: {report}")
            return
        self.best_metric, self.best_iter = metric, iteration
        self._checkpointer.save(self._file_prefix, iteration=iteration)
        self._logger.info(f"Saved as {self._file_prefix}: {report}")


class LRScheduler(HookBase):
    """Steps a scheduler after each iteration and puts the rate as "lr"."""

    def __init__(self, optimizer=None, scheduler=None):
        """Set both; by default the trainer's are used.

        Args:
            optimizer: whose rate is shown.
            scheduler: torch's, or an fvcore ParamScheduler that multiplies the initial rates.
        """
        self._optimizer = optimizer
        self._scheduler = scheduler

    @property
    def scheduler(self):
        """The scheduler in use."""
        return self._scheduler or self.trainer.scheduler

    def before_train(self):
        self._optimizer = self._optimizer or self.trainer.optimizer
        if isinstance(self.scheduler, ParamScheduler):
            self._scheduler = LRMultiplier(
                self._optimizer,
                self.scheduler,
                self.trainer.max_iter,
                last_iter=self.trainer.iter - 1,
            )
        self._best_param_group_id = self.get_best_param_group_id(self._optimizer)

    @staticmethod
    def get_best_param_group_id(optimizer):
        """Return the largest group; where each has one parameter, one of the commonest rate."""
        groups = optimizer.param_groups
        sizes = [len(group["params"]) for group in groups]
        if max(sizes) > 1:
            return sizes.index(max(sizes))
        rates = [group["lr"] for group in groups]
        return rates.index(Counter(rates).most_common(1)[0][0])

    def after_step(self):
        rate = self._optimizer.param_groups[self._best_param_group_id]["lr"]
        self.trainer.storage.put_scalar("lr", rate, smoothing_hint=False)
        self.scheduler.step()

    def state_dict(self):
        is_stateful = isinstance(self.scheduler, _TorchLRScheduler)
        return self.scheduler.state_dict() if is_stateful else {}

    def load_state_dict(self, state_dict):
        if isinstance(self.scheduler, _TorchLRScheduler):
            logging.getLogger(__name__).info("Loading scheduler from state_dict ...")
            self.scheduler.load_state_dict(state_dict)


class EvalHook(HookBase):
    """Evaluates every ``eval_period`` iterations and after the last one; on all workers or none."""

    def __init__(self, eval_period, eval_function, eval_after_train=True):
        """Set what is run.

        Args:
            eval_period: 0 evaluates at the end only.
            eval_function: returns a nested dict of numbers, or nothing.
            eval_after_train: evaluate after the last iteration.
        """
        self._period = eval_period
        self._func = eval_function
        self._eval_after_train = eval_after_train

    def after_step(self):
        if _is_due(self.trainer, self._period) and not _is_last(self.trainer):
            self._do_eval()

    def after_train(self):
        # After an error the iteration is smaller, and there is nothing to evaluate.
        if self._eval_after_train and self.trainer.iter + 1 >= self.trainer.max_iter:
            self._do_eval()
        del self._func  # it may hold the trainer, which would be a cycle

    def _do_eval(self):
        results = self._func()
        if results:
            assert isinstance(results, dict), f"eval_function must return a dict, not {results}"
            flat = flatten_results_dict(results)
            for name, value in flat.items():
                _check_number(name, value)
            self.trainer.storage.put_scalars(**flat, smoothing_hint=False)
        comm.synchronize()  # workers may take different times


class PreciseBN(HookBase):
    """Replaces the running statistics of batch norms by averages over many batches."""

    def __init__(self, period, model, data_loader, num_iter):
        """Set when and how.

        Args:
            period: every how many iterations; 0 at the end only.
            model: its batch norms in training mode are updated.
            data_loader: yields inputs of the model.
            num_iter: how many of them to average over.
        """
        self._logger = logging.getLogger(__name__)
        self._disabled = len(get_bn_modules(model)) == 0
        if self._disabled:
            self._logger.info("PreciseBN is off: the model has no BN layer in training mode.")
        self._model = model
        self._data_loader = data_loader
        self._num_iter = num_iter
        self._period = period
        self._data_iter = None

    def after_step(self):
        if _is_last(self.trainer) or _is_due(self.trainer, self._period):
            self.update_stats()

    def update_stats(self):
        """Update the statistics now."""
        if self._disabled:
            return
        if self._data_iter is None:
            self._data_iter = iter(self._data_loader)
        self._logger.info(f"Running precise-BN for {self._num_iter} iterations ...")
        with EventStorage():  # whose events nobody reads
            update_bn_stats(self._model, self._batches(), self._num_iter)

    def _batches(self):
        for i in itertools.count(1):
            if i % 100 == 0:
                self._logger.info(f"Running precise-BN ... {i}/{self._num_iter} iterations.")
            yield next(self._data_iter)


def _is_due(trainer, period):
    return period > 0 and (trainer.iter + 1) % period == 0


def _is_last(trainer):
    return trainer.iter + 1 == trainer.max_iter


def _check_number(name, value):
    try:
        float(value)
    except Exception as error:
        raise ValueError(
            "[EvalHook] eval_function should return a nested dict of float. "
            f"Got '{name}: {value}' instead."
        ) from error


def _clock(seconds):
    return str(datetime.timedelta(seconds=int(seconds)))

"""The evaluator interface and the loop that runs a model under it."""

from __future__ import annotations

import datetime
import logging
import time
from collections import OrderedDict, abc
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from detectron2.utils.comm import get_world_size, is_main_process
from detectron2.utils.logger import log_every_n_seconds

_NUM_WARMUP = 5  # batches left out of the reported speed


class DatasetEvaluator:
    """Accumulates a model's outputs over a dataset and scores them at the end."""

    def reset(self):
        """Forget everything; called before each round of evaluation."""

    def process(self, inputs, outputs):
        """Take in one batch.

        Args:
            inputs: list of dicts the model was called with.
            outputs: what the model returned, one entry per input.
        """

    def evaluate(self):
        """Return the scores, usually ``{task: {metric: score}}``; None on other than rank 0."""


class DatasetEvaluators(DatasetEvaluator):
    """Runs several evaluators as one; their result keys must differ."""

    def __init__(self, evaluators):
        super().__init__()
        self._evaluators = evaluators

    def reset(self):
        for evaluator in self._evaluators:
            evaluator.reset()

    def process(self, inputs, outputs):
        for evaluator in self._evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self):
        merged = OrderedDict()
        for evaluator in self._evaluators:
            scores = evaluator.evaluate()  # on every rank: it may synchronise
            if scores is None or not is_main_process():
                continue
            for key, value in scores.items():
                assert key not in merged, f"two evaluators return results named {key!r}"
                merged[key] = value
        return merged


def inference_on_dataset(
    model,
    data_loader,
    evaluator: DatasetEvaluator | list[DatasetEvaluator] | None,
    callbacks=None,
):
    """Run a model over a loader, in eval mode and without gradients, and evaluate it.

    Args:
        model: callable from a batch to outputs; a Module's mode is restored afterwards.
        data_loader: iterable of batches with a length.
        evaluator: one, a list of them, or None to only measure the speed.
        callbacks: functions without arguments to call at "on_start", "before_inference",
            "after_inference" and "on_end".

    Returns:
        The evaluator's result, {} where it has none.
    """
    logger = logging.getLogger(__name__)
    total = len(data_loader)
    logger.info(f"Start inference on {total} batches")
    if evaluator is None:
        evaluator = []
    if isinstance(evaluator, abc.MutableSequence):
        evaluator = DatasetEvaluators(evaluator)
    evaluator.reset()

    def notify(event):
        if callbacks and event in callbacks:
            callbacks[event]()

    clock = _StageClock(total)
    with ExitStack() as stack:
        if isinstance(model, nn.Module):
            stack.enter_context(inference_context(model))
        stack.enter_context(torch.no_grad())
        clock.start()
        notify("on_start")
        for index, inputs in enumerate(data_loader):
            clock.lap("data")
            clock.begin_batch(index)
            notify("before_inference")
            outputs = model(inputs)
            notify("after_inference")
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            clock.lap("compute")
            evaluator.process(inputs, outputs)
            clock.lap("eval")
            clock.report_progress(index)
        notify("on_end")
    clock.report_total(logger)  # before evaluate(), which may wait for other ranks

    results = evaluator.evaluate()
    return {} if results is None else results


@contextmanager
def inference_context(model):
    """Put a module in eval mode for a while, then back in the mode it had."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


class _StageClock:
    """Seconds spent in each stage of the loop, counted from the end of the warm-up."""

    def __init__(self, total):
        self._total = total
        self._num_warmup = min(_NUM_WARMUP, total - 1)

    def start(self):
        self._seconds = {"data": 0.0, "compute": 0.0, "eval": 0.0}
        self._began = self._last = time.perf_counter()

    def lap(self, stage):
        """Book the time since the previous lap under ``stage``."""
        now = time.perf_counter()
        self._seconds[stage] += now - self._last
        self._last = now

    def begin_batch(self, index):
        if index == self._num_warmup:
            self.start()

    def report_progress(self, index):
        done = index + 1 - (self._num_warmup if index >= self._num_warmup else 0)
        pace = {stage: spent / done for stage, spent in self._seconds.items()}
        if index < self._num_warmup * 2 and pace["compute"] <= 5:
            return  # too early for an estimate, and not slow enough to need one
        overall = (time.perf_counter() - self._began) / done
        eta = datetime.timedelta(seconds=int(overall * (self._total - index - 1)))
        log_every_n_seconds(
            logging.INFO,
            f"Inference done {index + 1}/{self._total}. "
            f"Dataloading: {pace['data']:.4f} s/iter. Inference: {pace['compute']:.4f} s/iter. "
            f"Eval: {pace['eval']:.4f} s/iter. Total: {overall:.4f} s/iter. ETA={eta}",
            n=5,
            name=__name__,
        )

    def report_total(self, logger):
        elapsed, compute = time.perf_counter() - self._began, self._seconds["compute"]
        devices, counted = get_world_size(), self._total - self._num_warmup
        for what, seconds, shown in (
            ("inference time", elapsed, datetime.timedelta(seconds=elapsed)),
            ("inference pure compute time", compute, datetime.timedelta(seconds=int(compute))),
        ):
            pace = f"{seconds / counted:.6f} s / iter per device, on {devices} devices"
            logger.info(f"Total {what}: {shown} ({pace})")

"""The training loop, its hooks, and the step of plain and of mixed precision training."""

from __future__ import annotations

import concurrent.futures
import logging
import time
import weakref

import numpy as np
import torch
from torch.nn.parallel import DataParallel, DistributedDataParallel

import detectron2.utils.comm as comm
from detectron2.utils.events import EventStorage, get_event_storage

__all__ = ["AMPTrainer", "HookBase", "SimpleTrainer", "TrainerBase"]


class HookBase:
    """What a trainer calls around its steps.

    ``before_train``, then for each iteration ``before_step``, ``after_backward`` and
    ``after_step``, and in the end, after an error too, ``after_train``. Work that takes time
    belongs in ``after_step``, so that hooks which measure time stay right.
    """

    trainer = None  # weak reference, set when the hook is registered

    def before_train(self):
        """Run before the first iteration."""

    def after_train(self):
        """Run after the last iteration."""

    def before_step(self):
        """Run before each iteration."""

    def after_backward(self):
        """Run between the backward pass and the optimizer's step."""

    def after_step(self):
        """Run after each iteration."""

    def state_dict(self):
        """Return what a checkpoint must keep; then there must be a ``load_state_dict`` too."""
        return {}


class TrainerBase:
    """A loop of ``run_step`` between hooks.

    Attributes:
        iter: the current iteration.
        start_iter: the first one, from 0.
        max_iter: the one behind the last.
        storage: EventStorage that is open while training.
    """

    def __init__(self):
        self._hooks = []
        self.iter = 0
        self.start_iter = 0

    def register_hooks(self, hooks):
        """Append hooks, which run in order; None is left out."""
        for hook in hooks:
            if hook is None:
                continue
            assert isinstance(hook, HookBase), hook
            hook.trainer = weakref.proxy(self)  # a strong reference would be a cycle
            self._hooks.append(hook)

    def train(self, start_iter, max_iter):
        """Run the iterations from ``start_iter`` up to ``max_iter``, which is excluded."""
        logger = logging.getLogger(__name__)
        logger.info(f"Starting training from iteration {start_iter}")
        self.start_iter, self.max_iter = start_iter, max_iter
        self.iter = start_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self._run_iterations()
            except Exception:
                logger.exception("Exception during training:")
                raise
            finally:
                self.after_train()

    def _run_iterations(self):
        self.before_train()
        for iteration in range(self.start_iter, self.max_iter):
            self.iter = iteration
            self.before_step()
            self.run_step()
            self.after_step()
        self.iter += 1  # tells after_train that all iterations are done

    def run_step(self):
        """Do the work of one iteration."""
        raise NotImplementedError

    def before_train(self):
        self._call_hooks("before_train")

    def after_train(self):
        self.storage.iter = self.iter
        self._call_hooks("after_train")

    def before_step(self):
        self.storage.iter = self.iter  # both stay the same throughout a step
        self._call_hooks("before_step")

    def after_backward(self):
        self._call_hooks("after_backward")

    def after_step(self):
        self._call_hooks("after_step")

    def _call_hooks(self, method):
        for hook in self._hooks:
            getattr(hook, method)()

    def state_dict(self):
        """Return the iteration and the states of hooks, by class; of equal ones the first."""
        hooks = {}
        for hook in self._hooks:
            state = hook.state_dict()
            if state:
                hooks.setdefault(type(hook).__qualname__, state)
        return {"iteration": self.iter, "hooks": hooks} if hooks else {"iteration": self.iter}

    def load_state_dict(self, state_dict):
        """Take over what :meth:`state_dict` returned."""
        self.iter = state_dict["iteration"]
        hooks = {}
        for hook in self._hooks:
            hooks.setdefault(type(hook).__qualname__, hook)
        for name, state in state_dict.get("hooks", {}).items():
            if name in hooks:
                hooks[name].load_state_dict(state)
            else:
                logging.getLogger(__name__).warning(
                    f"Cannot find the hook '{name}', its state_dict is ignored."
                )


class SimpleTrainer(TrainerBase):
    """Each step: data from the loader, losses from the model, one update of the optimizer."""

    def __init__(
        self,
        model,
        data_loader,
        optimizer,
        gather_metric_period=1,
        zero_grad_before_forward=False,
        async_write_metrics=False,
    ):
        """Set up the trainer and put the model in training mode.

        Args:
            model: returns a loss or a dict of losses.
            data_loader: an iterable of the model's inputs.
            optimizer: of the model's parameters.
            gather_metric_period: every how many iterations metrics of all workers are gathered.
            zero_grad_before_forward: clear gradients before the forward pass, not after it.
            async_write_metrics: write metrics in a thread.
        """
        super().__init__()
        model.train()
        self.model = model
        self.data_loader = data_loader
        self.optimizer = optimizer
        self.gather_metric_period = gather_metric_period
        self.zero_grad_before_forward = zero_grad_before_forward
        self.async_write_metrics = async_write_metrics
        self._data_loader_iter_obj = None
        # One thread, so that metrics are written in order.
        self.concurrent_executor = concurrent.futures.ThreadPoolExecutor(max_workers=1)

    def run_step(self):
        """Train on the next batch."""
        data, data_time = self._next_batch()
        if self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        losses, total = _named_and_total(self.model(data))
        if not self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        total.backward()
        self.after_backward()
        self._submit_metrics(losses, data_time)
        self.optimizer.step()

    def _next_batch(self):
        assert self.model.training, f"[{type(self).__name__}] model was changed to eval mode!"
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        return data, time.perf_counter() - start

    @property
    def _data_loader_iter(self):
        if self._data_loader_iter_obj is None:
            self._data_loader_iter_obj = iter(self.data_loader)
        return self._data_loader_iter_obj

    def reset_data_loader(self, data_loader_builder):
        """Drop the loader and continue with what ``data_loader_builder()`` returns."""
        del self.data_loader
        self._data_loader_iter_obj = None
        self.data_loader = data_loader_builder()

    def _submit_metrics(self, losses, data_time):
        if self.async_write_metrics:
            self.concurrent_executor.submit(self._write_metrics, losses, data_time, iter=self.iter)
        else:
            self._write_metrics(losses, data_time)

    def _write_metrics(self, loss_dict, data_time, prefix="", iter=None):
        iteration = self.iter if iter is None else iter
        if (iteration + 1) % self.gather_metric_period == 0:
            try:
                SimpleTrainer.write_metrics(loss_dict, data_time, iteration, prefix)
            except Exception:
                logging.getLogger(__name__).exception("Exception in writing metrics: ")
                raise

    @staticmethod
    def write_metrics(loss_dict, data_time, cur_iter, prefix=""):
        """Put losses, their sum and the data time, over all workers, in the event storage.

        Args:
            loss_dict: scalar losses by name.
            data_time: seconds this worker waited for data; the slowest one's is kept.
            cur_iter: iteration of the values.
            prefix: goes before "total_loss".

        Raises:
            FloatingPointError: the sum of the losses is infinite or no number.
        """
        storage = get_event_storage()
        storage.put_scalar("rank_data_time", data_time, cur_iter=cur_iter)
        mine = {name: loss.detach().cpu().item() for name, loss in loss_dict.items()}
        gathered = comm.gather((mine, data_time))
        if not comm.is_main_process():
            return
        storage.put_scalar("data_time", max(t for _, t in gathered), cur_iter=cur_iter)
        mean = {name: np.mean([losses[name] for losses, _ in gathered]) for name in mine}
        total = sum(mean.values())
        if not np.isfinite(total):
            raise FloatingPointError(
                f"Loss became infinite or NaN at iteration={cur_iter}!\nloss_dict = {mean}"
            )
        storage.put_scalar(f"{prefix}total_loss", total, cur_iter=cur_iter)
        if len(mean) > 1:
            storage.put_scalars(cur_iter=cur_iter, **mean)

    def state_dict(self):
        return {**super().state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])

    def after_train(self):
        super().after_train()
        self.concurrent_executor.shutdown(wait=True)


class AMPTrainer(SimpleTrainer):
    """A SimpleTrainer with automatic mixed precision on CUDA."""

    def __init__(
        self,
        model,
        data_loader,
        optimizer,
        gather_metric_period=1,
        zero_grad_before_forward=False,
        grad_scaler=None,
        precision=torch.float16,
        log_grad_scaler=False,
        async_write_metrics=False,
    ):
        """Set up the trainer; see SimpleTrainer for the other arguments.

        Args:
            model: as in SimpleTrainer, in a single process per device.
            data_loader: as in SimpleTrainer.
            optimizer: as in SimpleTrainer.
            gather_metric_period: as in SimpleTrainer.
            zero_grad_before_forward: as in SimpleTrainer.
            grad_scaler: a GradScaler; by default a new one.
            precision: dtype of the forward pass.
            log_grad_scaler: put the scale among the metrics.
            async_write_metrics: as in SimpleTrainer.
        """
        is_multi_device = isinstance(model, DataParallel) or (
            isinstance(model, DistributedDataParallel) and len(model.device_ids or []) > 1
        )
        assert not is_multi_device, "AMPTrainer needs one process for each device"
        super().__init__(
            model,
            data_loader,
            optimizer,
            gather_metric_period,
            zero_grad_before_forward,
            async_write_metrics,
        )
        self.grad_scaler = torch.amp.GradScaler("cuda") if grad_scaler is None else grad_scaler
        self.precision = precision
        self.log_grad_scaler = log_grad_scaler

    def run_step(self):
        """Train on the next batch."""
        assert torch.cuda.is_available(), "[AMPTrainer] CUDA is required for AMP training!"
        data, data_time = self._next_batch()
        if self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        with torch.autocast("cuda", dtype=self.precision):
            losses, total = _named_and_total(self.model(data))
        if not self.zero_grad_before_forward:
            self.optimizer.zero_grad()
        self.grad_scaler.scale(total).backward()
        if self.log_grad_scaler:
            scale = self.grad_scaler.get_scale()
            get_event_storage().put_scalar("[metric]grad_scaler", scale)
        self.after_backward()
        self._submit_metrics(losses, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def state_dict(self):
        return {**super().state_dict(), "grad_scaler": self.grad_scaler.state_dict()}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.grad_scaler.load_state_dict(state_dict["grad_scaler"])


def _named_and_total(losses):
    if isinstance(losses, torch.Tensor):
        return {"total_loss": losses}, losses
    return losses, sum(losses.values())

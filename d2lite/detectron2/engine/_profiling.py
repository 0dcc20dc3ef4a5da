"""Hooks that measure where time and memory go; import them from hooks."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings

import torch

import detectron2.utils.comm as comm
from detectron2.utils.file_io import PathManager

from .train_loop import HookBase


class TorchProfiler(HookBase):
    """Profiles some iterations with ``torch.profiler``."""

    def __init__(self, enable_predicate, output_dir, *, activities=None, save_tensorboard=True):
        """Set what is profiled.

        Args:
            enable_predicate: asked with the trainer before each step whether to profile it.
            output_dir: where traces go.
            activities: those of ``torch.profiler.profile``.
            save_tensorboard: write for tensorboard, into ``output_dir/log``, not for Chrome.
        """
        self._enable_predicate = enable_predicate
        self._output_dir = output_dir
        self._activities = activities
        self._save_tensorboard = save_tensorboard
        self._profiler = None

    def before_step(self):
        self._profiler = self._new_profiler() if self._enable_predicate(self.trainer) else None
        if self._profiler is not None:
            self._profiler.__enter__()

    def after_step(self):
        if self._profiler is None:
            return
        self._profiler.__exit__(None, None, None)
        if not self._save_tensorboard:
            self._export()

    def _new_profiler(self):
        handler = None
        if self._save_tensorboard:
            name = f"profiler-tensorboard-iter{self.trainer.iter}"
            handler = torch.profiler.tensorboard_trace_handler(
                os.path.join(self._output_dir, "log", name), f"worker{comm.get_rank()}"
            )
        return torch.profiler.profile(
            activities=self._activities,
            on_trace_ready=handler,
            with_stack=True,
            with_flops=True,
            record_shapes=True,
            profile_memory=True,
        )

    def _export(self):
        PathManager.mkdirs(self._output_dir)
        path = os.path.join(self._output_dir, f"profiler-trace-iter{self.trainer.iter}.json")
        with tempfile.TemporaryDirectory() as folder:  # the target may be on remote storage
            local = os.path.join(folder, "trace.json")
            self._profiler.export_chrome_trace(local)
            with open(local) as source, PathManager.open(path, "w") as target:
                target.write(source.read())


class AutogradProfiler(TorchProfiler):
    """Profiles with ``torch.autograd.profiler``; TorchProfiler does it better."""

    def __init__(self, enable_predicate, output_dir, *, use_cuda=True):
        """See :class:`TorchProfiler`."""
        warnings.warn("AutogradProfiler is deprecated; use TorchProfiler", stacklevel=2)
        super().__init__(enable_predicate, output_dir, save_tensorboard=False)
        self._use_cuda = use_cuda

    def _new_profiler(self):
        device = "cuda" if self._use_cuda and torch.cuda.is_available() else None
        return torch.autograd.profiler.profile(use_device=device)


class TorchMemoryStats(HookBase):
    """Logs CUDA memory every ``period`` iterations, at most ``max_runs`` times."""

    def __init__(self, period=20, max_runs=10):
        self._logger = logging.getLogger(__name__)
        self._period = period
        self._max_runs = max_runs
        self._runs = 0

    def after_step(self):
        done = self.trainer.iter + 1
        is_due = done % self._period == 0 or done == self.trainer.max_iter
        if self._runs >= self._max_runs or not is_due or not torch.cuda.is_available():
            return
        self._runs += 1
        counters = {
            "max_reserved_mem": torch.cuda.max_memory_reserved(),
            "reserved_mem": torch.cuda.memory_reserved(),
            "max_allocated_mem": torch.cuda.max_memory_allocated(),
            "allocated_mem": torch.cuda.memory_allocated(),
        }
        sizes = "  ".join(f"{name}: {size / 1024**2:.0f}MB" for name, size in counters.items())
        self._logger.info(f" iter: {self.trainer.iter}  {sizes}")
        if self._runs == self._max_runs:
            self._logger.info("\n" + torch.cuda.memory_summary())
        torch.cuda.reset_peak_memory_stats()

"""Metrics of a running training: where they are kept, and who writes them out."""

from __future__ import annotations

import datetime
import json
import logging
import os
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import cached_property

import torch
from fvcore.common.history_buffer import HistoryBuffer

from detectron2.utils.file_io import PathManager

__all__ = [
    "CommonMetricPrinter",
    "EventStorage",
    "EventWriter",
    "JSONWriter",
    "TensorboardXWriter",
    "get_event_storage",
    "has_event_storage",
]

_storages = []  # innermost `with EventStorage()` last


def get_event_storage():
    """Return the EventStorage of the innermost ``with`` block."""
    assert _storages, "get_event_storage() works only inside `with EventStorage(...)`"
    return _storages[-1]


def has_event_storage():
    """Tell whether a ``with EventStorage()`` block is open."""
    return bool(_storages)


class EventStorage:
    """Keeps scalars with their history, and images and histograms until they are written."""

    def __init__(self, start_iter=0):
        """``start_iter`` is the iteration of what is put first."""
        self._iter = start_iter
        self._prefix = ""
        self._history = defaultdict(HistoryBuffer)
        self._latest_scalars = {}  # name: (value, iteration)
        self._smoothing_hints = {}
        self._vis_data = []  # (name, image, iteration)
        self._histograms = []  # arguments of SummaryWriter.add_histogram_raw

    def put_image(self, img_name, img_tensor):
        """Keep an RGB image [3, H, W], uint8 or float in [0, 1], for tensorboard."""
        self._vis_data.append((img_name, img_tensor, self._iter))

    def put_scalar(self, name, value, smoothing_hint=True, cur_iter=None):
        """Add a value to the history of ``name``.

        Args:
            name: of the scalar; a :meth:`name_scope` goes before it.
            value: anything that ``float`` takes.
            smoothing_hint: the scalar is noisy, so writers should show a median. It must be the
                same each time.
            cur_iter: iteration of the value; by default the current one.
        """
        name = self._prefix + name
        hint = self._smoothing_hints.setdefault(name, smoothing_hint)
        assert hint == smoothing_hint, f"scalar {name} was put with another smoothing_hint before"
        iteration = self._iter if cur_iter is None else cur_iter
        value = float(value)
        self._history[name].update(value, iteration)
        self._latest_scalars[name] = (value, iteration)

    def put_scalars(self, *, smoothing_hint=True, cur_iter=None, **kwargs):
        """Call :meth:`put_scalar` for every keyword argument."""
        for name, value in kwargs.items():
            self.put_scalar(name, value, smoothing_hint=smoothing_hint, cur_iter=cur_iter)

    def put_histogram(self, hist_name, hist_tensor, bins=1000):
        """Keep a histogram of all values of a tensor for tensorboard."""
        low, high = hist_tensor.min().item(), hist_tensor.max().item()
        edges = torch.linspace(low, high, steps=bins + 1, dtype=torch.float32)
        self._histograms.append(
            {
                "tag": hist_name,
                "global_step": self._iter,
                "num": len(hist_tensor),
                "min": low,
                "max": high,
                "sum": float(hist_tensor.sum()),
                "sum_squares": float((hist_tensor**2).sum()),
                "bucket_counts": torch.histc(hist_tensor, bins=bins).tolist(),
                "bucket_limits": edges[1:].tolist(),
            }
        )

    def history(self, name):
        """Return the HistoryBuffer of a scalar."""
        if name not in self._history:
            raise KeyError(f"No history metric available for {name}!")
        return self._history[name]

    def histories(self):
        """Return ``{name: HistoryBuffer}``."""
        return self._history

    def latest(self):
        """Return ``{name: (last value, its iteration)}``."""
        return self._latest_scalars

    def latest_with_smoothing_hint(self, window_size=20):
        """Return what :meth:`latest` does, with noisy values replaced by a median.

        Args:
            window_size: number of iterations, counted back from the last value, to take it over.
        """
        latest = {}
        for name, (value, iteration) in self._latest_scalars.copy().items():  # threads add some
            if self._smoothing_hints[name]:
                value = self._history[name].median(self.count_samples(name, window_size))
            latest[name] = (value, iteration)
        return latest

    def count_samples(self, name, window_size=20):
        """Return how many values were put in the last ``window_size`` iterations."""
        values = self._history[name].values()
        first = values[-1][1] - window_size + 1
        count = 0
        while count < len(values) and values[-1 - count][1] >= first:
            count += 1
        return count

    def smoothing_hints(self):
        """Return ``{name: whether the scalar is noisy}``."""
        return self._smoothing_hints

    def step(self):
        """Go to the next iteration; alternatively set ``iter``."""
        self._iter += 1

    @property
    def iter(self):
        """The current iteration."""
        return self._iter

    @iter.setter
    def iter(self, val):
        self._iter = int(val)

    @property
    def iteration(self):
        """Older name of ``iter``."""
        return self._iter

    @contextmanager
    def name_scope(self, name):
        """Put ``name/`` before the name of every scalar that is put inside the block."""
        outer = self._prefix
        self._prefix = name.rstrip("/") + "/"
        try:
            yield
        finally:
            self._prefix = outer

    def clear_images(self):
        """Forget the images, which have been written."""
        self._vis_data = []

    def clear_histograms(self):
        """Forget the histograms, which have been written."""
        self._histograms = []

    def __enter__(self):
        _storages.append(self)
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        assert _storages[-1] is self, "EventStorage blocks must close in reverse order"
        _storages.pop()


class EventWriter:
    """Writes what the current EventStorage holds, each time that ``write`` is called."""

    def write(self):
        raise NotImplementedError

    def close(self):
        """Release what the writer holds."""


class JSONWriter(EventWriter):
    """Appends scalars to a file, one JSON object with its "iteration" per line."""

    def __init__(self, json_file, window_size=20):
        """``window_size`` is that of :meth:`EventStorage.latest_with_smoothing_hint`."""
        self._file_handle = PathManager.open(json_file, "a")
        self._window_size = window_size
        self._last_write = -1

    def write(self):
        latest = get_event_storage().latest_with_smoothing_hint(self._window_size)
        lines = defaultdict(dict)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                lines[iteration][name] = value
        for iteration, scalars in lines.items():
            record = {**scalars, "iteration": iteration}
            self._file_handle.write(json.dumps(record, sort_keys=True) + "\n")
        self._last_write = max([self._last_write, *lines])
        self._file_handle.flush()
        if hasattr(self._file_handle, "fileno"):  # not on every kind of storage
            os.fsync(self._file_handle.fileno())

    def close(self):
        self._file_handle.close()


class TensorboardXWriter(EventWriter):
    """Writes scalars, images and histograms for tensorboard."""

    def __init__(self, log_dir, window_size=20, **kwargs):
        """Set the directory; no file is made before there is something to write.

        Args:
            log_dir: where the event files go.
            window_size: that of :meth:`EventStorage.latest_with_smoothing_hint`.
            **kwargs: for ``torch.utils.tensorboard.SummaryWriter``.
        """
        self._window_size = window_size
        self._writer_args = {"log_dir": log_dir, **kwargs}
        self._last_write = -1

    @cached_property
    def _writer(self):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(**self._writer_args)

    def write(self):
        storage = get_event_storage()
        newest = self._last_write
        latest = storage.latest_with_smoothing_hint(self._window_size)
        for name, (value, iteration) in latest.items():
            if iteration > self._last_write:
                self._writer.add_scalar(name, value, iteration)
                newest = max(newest, iteration)
        self._last_write = newest
        # This writer alone takes images and histograms, so it may clear them.
        for image in storage._vis_data:
            self._writer.add_image(*image)
        storage.clear_images()
        for histogram in storage._histograms:
            self._writer.add_histogram_raw(**histogram)
        storage.clear_histograms()

    def close(self):
        if "_writer" in vars(self):
            self._writer.close()


class CommonMetricPrinter(EventWriter):
    """Logs time left, losses, ``[metric]`` scalars, times, learning rate and memory in one line."""

    def __init__(self, max_iter=None, window_size=20):
        """Set what is shown.

        Args:
            max_iter: last iteration, to tell the time left; None to leave that out.
            window_size: iterations that losses are the median of.
        """
        self.logger = logging.getLogger("detectron2.utils.events")
        self._max_iter = max_iter
        self._window_size = window_size
        self._last_write = None  # (iteration, time), to tell the time left without "time"

    def write(self):
        storage = get_event_storage()
        if storage.iter == self._max_iter:  # after the training, where there is no progress
            return
        left = self._get_eta(storage)
        parts = [
            f" eta: {left}  " if left else " ",
            f"iter: {storage.iter}  {self._medians(storage, 'loss')}  ",
            f"{self._medians(storage, '[metric]')}  ",
        ]
        if "time" in storage.histories():
            times = storage.history("time")
            parts.append(f"time: {times.global_avg():.4f}  last_time: {times.latest():.4f}  ")
        if "data_time" in storage.histories():
            times = storage.history("data_time")
            average = times.avg(storage.count_samples("data_time", self._window_size))
            parts.append(f"data_time: {average:.4f}  last_data_time: {times.latest():.4f}  ")
        has_rate = "lr" in storage.histories()
        rate = f"{storage.history('lr').latest():.5g}" if has_rate else "N/A"
        parts.append(f" lr: {rate}  ")
        if torch.cuda.is_available():
            parts.append(f"max_mem: {torch.cuda.max_memory_allocated() / 1024**2:.0f}M")
        self.logger.info("".join(parts))

    def _medians(self, storage, part):
        medians = {
            name: storage.history(name).median(storage.count_samples(name, self._window_size))
            for name in storage.latest().copy()  # threads add some
            if part in name
        }
        return "  ".join(f"{name}: {median:.4g}" for name, median in medians.items())

    def _get_eta(self, storage):
        """Return the time left as text, or None while it is not known."""
        if self._max_iter is None:
            return None
        remaining = self._max_iter - storage.iter - 1
        if "time" in storage.histories():
            seconds = storage.history("time").median(1000) * remaining
            storage.put_scalar("eta_seconds", seconds, smoothing_hint=False)
            return str(datetime.timedelta(seconds=int(seconds)))
        now = (storage.iter, time.perf_counter())
        before, self._last_write = self._last_write, now
        if before is None or before[0] == now[0]:
            return None
        seconds = (now[1] - before[1]) / (now[0] - before[0]) * remaining
        return str(datetime.timedelta(seconds=int(seconds)))

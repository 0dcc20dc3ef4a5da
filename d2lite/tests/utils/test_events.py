"""Event storage and its writers."""

from __future__ import annotations

import json
import logging
import sys
import threading

import numpy as np
import pytest
import torch

from detectron2.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    EventWriter,
    JSONWriter,
    TensorboardXWriter,
    get_event_storage,
    has_event_storage,
)


def test_innermost_storage_is_current():
    with EventStorage() as outer:
        with EventStorage(5) as inner:
            assert get_event_storage() is inner
            assert inner.iter == inner.iteration == 5
        assert get_event_storage() is outer
    assert not has_event_storage()
    with pytest.raises(AssertionError):
        get_event_storage()


def test_scalars_keep_history_and_latest():
    with EventStorage(3) as storage:
        storage.put_scalar("loss", torch.tensor(2.0))
        storage.step()
        storage.put_scalars(loss=np.float32(4.0), lr=1, cur_iter=9)
    assert storage.history("loss").values() == [(2.0, 3), (4.0, 9)]
    assert storage.latest() == {"loss": (4.0, 9), "lr": (1.0, 9)}
    assert set(storage.histories()) == {"loss", "lr"}
    with pytest.raises(KeyError):
        storage.history("nothing")


def test_smoothing_hint_must_stay_the_same():
    storage = EventStorage()
    storage.put_scalar("a", 1, smoothing_hint=False)
    assert storage.smoothing_hints() == {"a": False}
    with pytest.raises(AssertionError):
        storage.put_scalar("a", 1, smoothing_hint=True)


def test_median_is_over_iterations_not_over_values():
    storage = EventStorage()
    for i in range(0, 40, 4):
        storage.iter = i
        storage.put_scalar("noisy", i)
        storage.put_scalar("exact", i, smoothing_hint=False)
    assert storage.count_samples("noisy", 20) == 5
    latest = storage.latest_with_smoothing_hint(20)
    assert latest == {"noisy": (28.0, 36), "exact": (36.0, 36)}


def test_name_scope():
    storage = EventStorage()
    with storage.name_scope("a/"):
        storage.put_scalar("b", 1)
    storage.put_scalar("c", 1)
    assert set(storage.latest()) == {"a/b", "c"}


def test_histogram_counts_every_value():
    storage = EventStorage(2)
    values = torch.tensor([0.0, 1, 1, 2, 4])
    storage.put_histogram("h", values, bins=4)
    (histogram,) = storage._histograms
    assert histogram["bucket_counts"] == [1, 2, 1, 1]
    assert histogram["bucket_limits"] == [1, 2, 3, 4]
    assert (histogram["sum"], histogram["sum_squares"], histogram["num"]) == (8, 22, 5)
    storage.clear_histograms()
    assert storage._histograms == []


def test_json_lines_hold_each_value_once(tmp_path):
    path = tmp_path / "metrics.json"
    with EventStorage() as storage:
        writer = JSONWriter(str(path))
        storage.put_scalar("a", 1.0)
        writer.write()
        writer.write()
        storage.step()
        storage.put_scalar("b", 2.0)
        writer.write()
        writer.close()
        again = JSONWriter(str(path))  # goes on where the file ends
        storage.step()
        storage.put_scalar("c", 3.0)
        again._last_write = 1
        again.write()
        again.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"a": 1.0, "iteration": 0},
        {"b": 2.0, "iteration": 1},
        {"c": 3.0, "iteration": 2},
    ]


def printed(caplog, printer):
    caplog.clear()
    name = "detectron2.utils.events"
    with caplog.at_level(logging.INFO, logger=name):
        printer.write()
    # the formatter of setup_logger shortens "detectron2" in the name of a record
    return [r.getMessage() for r in caplog.records if r.name.endswith("utils.events")]


def test_printed_line(caplog):
    with EventStorage(9) as storage:
        for name, value in (("total_loss", 1.5), ("[metric]x", 2.0), ("other", 7.0)):
            storage.put_scalar(name, value)
        storage.put_scalar("time", 2.0)
        storage.put_scalar("data_time", 0.25)
        storage.put_scalar("lr", 0.001, smoothing_hint=False)
        (line,) = printed(caplog, CommonMetricPrinter(20))
    start = (
        " eta: 0:00:20  iter: 9  total_loss: 1.5  [metric]x: 2  time: 2.0000  last_time: 2.0000  "
        "data_time: 0.2500  last_data_time: 0.2500   lr: 0.001  "
    )
    assert line.startswith(start)
    assert storage.latest()["eta_seconds"][0] == 20


def test_nothing_is_printed_after_the_last_iteration(caplog):
    with EventStorage(20):
        assert printed(caplog, CommonMetricPrinter(20)) == []


def test_time_left_is_estimated_without_times(caplog):
    printer = CommonMetricPrinter(100)
    with EventStorage() as storage:
        (first,) = printed(caplog, printer)
        storage.iter = 50
        (second,) = printed(caplog, printer)
    assert "eta" not in first
    assert "eta: 0:00:0" in second
    assert "lr: N/A" in second


def test_tensorboard_gets_scalars_and_images(tmp_path):
    pytest.importorskip("tensorboard")
    with EventStorage(4) as storage:
        writer = TensorboardXWriter(str(tmp_path))
        assert list(tmp_path.iterdir()) == []
        storage.put_scalar("a", 1.0)
        storage.put_image("i", torch.zeros(3, 4, 4, dtype=torch.uint8))
        storage.put_histogram("h", torch.arange(4.0))
        writer.write()
        writer.close()
    assert storage._vis_data == []
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("a")] == [(4, 1.0)]
    assert events.Tags()["images"] == ["i"]
    assert events.Tags()["histograms"] == ["h"]


def test_writer_base_class():
    with pytest.raises(NotImplementedError):
        EventWriter().write()
    assert EventWriter().close() is None


def test_a_thread_may_put_scalars_while_they_are_read():
    """As the trainers' async_write_metrics does: names that are new must not break a reader."""
    storage = EventStorage()
    is_done = threading.Event()

    def write():
        for number in range(3000):
            storage.put_scalar(f"loss_{number}", number)
        is_done.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        writer = threading.Thread(target=write)
        writer.start()
        while not is_done.is_set():
            storage.latest_with_smoothing_hint(1)
        writer.join()
    finally:
        sys.setswitchinterval(before)
    assert len(storage.latest_with_smoothing_hint(1)) == 3000

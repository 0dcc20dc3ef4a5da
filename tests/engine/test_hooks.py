from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from detectron2.utils.events import EventStorage
from freeseg.engine import hooks as hooks_module
from freeseg.engine.hooks import (
    BestCheckpointer,
    MetricHistory,
    MetricsWriter,
    PreciseBatchNorm,
    forget_metrics_after,
)

LINES = ['{"iteration": 4}', '{"iteration": 9, "x": 1}', '{"iteration": 14}']


@pytest.mark.parametrize(
    ("content", "iteration", "kept"),
    [
        (LINES, 14, 3),
        (LINES, 13, 2),
        (LINES, 9, 2),
        (LINES, -1, 0),
        ([LINES[0], "not json", LINES[1]], 99, 1),
        ([LINES[0], '{"loss": 1}', LINES[1]], 99, 1),
        ([LINES[0], "[4]", LINES[1]], 99, 1),
        ([LINES[0], '{"iteration": null}', LINES[1]], 99, 1),
        ([], 3, 0),
    ],
    ids=["all", "later", "equal", "none", "damaged", "no place", "a list", "null", "empty"],
)
def test_metrics_after_the_checkpoint_are_forgotten(tmp_path, content, iteration, kept):
    file = tmp_path / "metrics.json"
    file.write_text("".join(line + "\n" for line in content))
    forget_metrics_after(file, iteration)
    assert file.read_text().splitlines() == content[:kept]


def test_half_written_line_is_forgotten(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text(LINES[0] + "\n" + LINES[1])
    forget_metrics_after(file, 99)
    assert file.read_text() == LINES[0] + "\n"


def test_open_writer_appends_after_the_cut(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text("\n".join(LINES) + "\n")
    with file.open("a") as writer:
        forget_metrics_after(file, 4)
        writer.write('{"iteration": 5}\n')
    assert file.read_text() == LINES[0] + '\n{"iteration": 5}\n'


def test_missing_metrics_file_is_fine(tmp_path):
    forget_metrics_after(tmp_path / "metrics.json", 3)
    assert list(tmp_path.iterdir()) == []


def test_log_period_must_be_positive():
    with pytest.raises(ValueError, match="LOG_PERIOD must be at least 1, got 0"):
        MetricsWriter([], 0, 10)


class Loop:
    """A trainer as far as hooks look at it."""

    def __init__(self, last, start=0):
        self.max_iter, self.start_iter, self.iter = last, start, start
        self.storage = EventStorage(start)

    def run(self, hook, values=None):
        """Every iteration puts a value and calls the hook."""
        hook.trainer = self
        hook.before_train()
        for iteration in range(self.start_iter, self.max_iter):
            self.iter = self.storage.iter = iteration
            for name, value in (values(iteration) if values else {}).items():
                self.storage.put_scalar(name, value, smoothing_hint=not name.startswith("lr"))
            hook.after_step()
        self.iter += 1
        hook.after_train()
        return self


class Lines:
    """A writer that writes down when."""

    def __init__(self, loop):
        self.loop, self.seen = loop, []

    def write(self):
        self.seen.append(self.loop.iter)

    def close(self):
        self.seen.append("closed")


@pytest.mark.parametrize("period", [1, 3, 4, 99])
@pytest.mark.parametrize("eval_period", [-1, 0, 2, 5])
def test_metrics_are_written_when_a_loop_would(period, eval_period):
    loop = Loop(7)
    writers = [Lines(loop), Lines(loop)]
    loop.run(MetricsWriter(writers, period, eval_period))
    due = [i for i in range(7) if (i + 1) % period == 0 or i == 6
           or (eval_period > 0 and (i + 1) % eval_period == 0)]  # fmt: skip
    for writer in writers:
        assert writer.seen == [*due, 7, "closed"]


def test_the_last_twenty_values_of_what_is_smoothed_come_back():
    def values(iteration):
        return {"loss": 0.5 * iteration, "lr": 9.0, "time": 7.0, "eta_time": 1.0}

    history = MetricHistory()
    history.trainer = type("Untrained", (), {})()
    assert history.state_dict() == {}
    Loop(33).run(history, values)
    state = history.state_dict()
    assert state == {"recent": {"loss": [[0.5 * one, one] for one in range(13, 33)]}}
    again = MetricHistory()
    again.load_state_dict(json.loads(json.dumps(state)))
    loop = Loop(34, start=33).run(again, values)
    assert loop.storage.history("loss").values()[-21:] == [(0.5 * i, i) for i in range(13, 34)]
    assert loop.storage.history("loss").median(20) == float(np.median(0.5 * np.arange(14, 34)))


@pytest.mark.parametrize("start", [4, 5])
def test_nothing_comes_back_where_nothing_is_trained(start):
    history = MetricHistory()
    history.load_state_dict({"recent": {"loss": [[1.0, 2]]}})
    history.trainer = Loop(4, start=start)
    history.before_train()
    assert history.trainer.storage.histories() == {}


class Saved:
    """Notes what is saved."""

    def __init__(self):
        self.seen = []

    def save(self, name, **content):
        self.seen.append((name, content["iteration"]))


@pytest.fixture
def best(tmp_path):
    def make(metric="sem_seg/mIoU"):
        saved = Saved()
        return BestCheckpointer(1, saved, metric, tmp_path), saved

    return make


def scored(*scores):
    return lambda iteration: {"sem_seg/mIoU": scores[iteration]}


def test_the_best_is_the_first_of_the_highest(best, tmp_path):
    hook, saved = best()
    (tmp_path / "model_best.json").write_text("of another training")
    Loop(6).run(hook, scored(2.0, 2.0, 5.0, 4.0, float("nan"), 5.0))
    assert saved.seen == [("model_best", 0), ("model_best", 2)]
    record = json.loads((tmp_path / "model_best.json").read_text())
    assert record == {"metric": "sem_seg/mIoU", "value": 5.0, "iteration": 2}
    assert hook.state_dict() == {"best_metric": 5.0, "best_iter": 2, "name": "sem_seg/mIoU"}


def test_another_process_saves_with_the_main_one_and_writes_no_record(best, tmp_path, monkeypatch):
    monkeypatch.setattr(hooks_module.comm, "is_main_process", lambda: False)
    given = iter([(4.0, 0), (3.0, 1), (6.0, 2), (5.0, 3), None])
    monkeypatch.setattr(hooks_module.comm, "all_gather", lambda own: [next(given), own])
    hook, saved = best()
    (tmp_path / "model_best.json").write_text("the main process's")
    loop = Loop(4).run(hook)
    assert saved.seen == [("model_best", 0), ("model_best", 2)]
    assert loop.storage.history("sem_seg/mIoU").values() == [
        (4.0, 0), (3.0, 1), (6.0, 2), (5.0, 3)
    ]  # fmt: skip
    assert (tmp_path / "model_best.json").read_text() == "the main process's"


def test_a_record_of_another_training_goes_with_the_first_step(best, tmp_path):
    (tmp_path / "model_best.json").write_text("{}")
    hook, _ = best()
    Loop(2).run(hook)  # nothing is evaluated
    assert not (tmp_path / "model_best.json").exists()


@pytest.mark.parametrize(
    ("content", "known", "expected"),
    [
        ({}, None, (9.0, 5)),
        ({"value": 8.0}, (8.5, 3), (8.5, 3)),
        ({"value": 8.5}, (8.5, 3), (8.5, 3)),
        ({}, (8.5, 3), (9.0, 5)),
        ({"iteration": 4}, None, (None, None)),
        ({"metric": "segm/AP"}, None, (None, None)),
        (None, (8.5, 3), (8.5, 3)),
        ("[1, 2]", None, (None, None)),
        ("{}", None, (None, None)),
        ("not json", None, (None, None)),
    ],
)
def test_a_finished_run_has_its_best_in_the_record(best, tmp_path, content, known, expected):
    record = {"metric": "sem_seg/mIoU", "value": 9.0, "iteration": 5}
    if content is not None:
        text = content if isinstance(content, str) else json.dumps({**record, **content})
        (tmp_path / "model_best.json").write_text(text)
    hook, _ = best()
    hook.trainer = Loop(9, start=5)
    if known:
        hook.load_state_dict({"best_metric": known[0], "best_iter": known[1]})
    hook.before_train()
    assert (hook.best_metric, hook.best_iter) == expected


def test_a_run_from_the_beginning_knows_no_record(best, tmp_path):
    record = {"metric": "sem_seg/mIoU", "value": 9.0, "iteration": 0}
    (tmp_path / "model_best.json").write_text(json.dumps(record))
    hook, _ = best()
    hook.trainer = Loop(9)
    hook.before_train()
    assert hook.best_metric is None


@pytest.mark.parametrize("name", ["sem_seg/mIoU", "segm/AP"])
def test_the_best_by_another_metric_is_forgotten_aloud(best, caplog, name):
    hook, _ = best()
    with caplog.at_level("INFO", "freeseg"):
        hook.load_state_dict({"best_metric": 3.0, "best_iter": 4, "name": name})
    is_same = name == "sem_seg/mIoU"
    assert (hook.best_metric, hook.best_iter) == ((3.0, 4) if is_same else (None, None))
    told = "Best model so far: 3.0000 at iteration 4"
    other = "the best model is now that of sem_seg/mIoU, was that of segm/AP"
    assert caplog.messages == [told if is_same else other]
    hook.load_state_dict({"best_metric": None, "best_iter": None, "name": "sem_seg/mIoU"})
    assert hook.best_metric is None
    assert len(caplog.messages) == 1


def test_precise_batch_norms_see_the_same_batches_in_every_round():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(3))
    batches = [torch.randn(8, 3) * (n + 1) + n for n in range(5)]
    hook = PreciseBatchNorm(1, model, batches, 2)
    hook.trainer = Loop(3)
    found = []
    for _ in range(3):
        hook.update_stats()
        found.append(model[0].running_mean.clone())
    expected = torch.stack([one.mean(0) for one in batches[:2]]).mean(0)
    for mean in found:
        torch.testing.assert_close(mean, expected)

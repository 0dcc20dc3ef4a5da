"""When each hook acts and what it leaves behind."""

from __future__ import annotations

import json

import pytest
import torch
from fvcore.common.param_scheduler import CosineParamScheduler
from torch import nn

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import HookBase, SimpleTrainer, hooks
from detectron2.solver import LRMultiplier
from detectron2.utils.events import EventWriter, JSONWriter, get_event_storage


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x):
        return self.norm(self.linear(x)).sum()


def trainer(*registered):
    model = Model()
    data = [torch.ones(4, 2) * i for i in range(200)]
    loop = SimpleTrainer(model, data, torch.optim.SGD(model.parameters(), lr=1.0))
    loop.register_hooks(registered)
    return loop


def test_callbacks():
    calls = []
    names = ["before_train", "before_step", "after_step", "after_train"]
    hook = hooks.CallbackHook(**{n: lambda t, n=n: calls.append((n, t.iter)) for n in names})
    trainer(hook).train(0, 1)
    assert calls == [("before_train", 0), ("before_step", 0), ("after_step", 0), ("after_train", 1)]
    trainer(hooks.CallbackHook()).train(0, 1)


def test_timer_skips_the_first_iterations(caplog):
    loop = trainer(hooks.IterationTimer(warmup_iter=3))
    with caplog.at_level("INFO"):
        loop.train(0, 10)
    times = loop.storage.history("time").values()
    assert [i for _, i in times] == list(range(2, 10))
    assert all(seconds > 0 for seconds, _ in times)


class Written(EventWriter):
    def __init__(self):
        self.iterations = []
        self.is_closed = False

    def write(self):
        self.iterations.append(get_event_storage().iter)

    def close(self):
        self.is_closed = True


def test_writers_write_periodically_and_at_the_end():
    writer = Written()
    trainer(hooks.PeriodicWriter([writer], period=4)).train(0, 10)
    assert writer.iterations == [3, 7, 9, 10]
    assert writer.is_closed
    with pytest.raises(AssertionError):
        hooks.PeriodicWriter([object()])


@pytest.mark.parametrize(
    ("period", "after_train", "expected"),
    [(3, True, [2, 5, 7]), (4, True, [3, 8]), (0, True, [8]), (3, False, [2, 5]), (0, False, [])],
)
def test_evaluations(period, after_train, expected):
    seen = []

    def evaluate():
        seen.append(get_event_storage().iter)

    max_iter = 8
    trainer(hooks.EvalHook(period, evaluate, eval_after_train=after_train)).train(0, max_iter)
    # The last one runs when the iterations are done.
    assert seen == [i if i != 7 else max_iter for i in expected]


def test_evaluation_results_are_flattened():
    loop = trainer(hooks.EvalHook(0, lambda: {"bbox": {"AP": 3}, "x": 1.5}))
    loop.train(0, 2)
    latest = loop.storage.latest()
    assert latest["bbox/AP"] == (3.0, 2)
    assert latest["x"] == (1.5, 2)
    assert loop.storage.smoothing_hints()["x"] is False


@pytest.mark.parametrize("result", [{"a": "text"}, {"a": {"b": [1, 2]}}])
def test_evaluation_results_must_be_numbers(result):
    with pytest.raises(ValueError, match="nested dict of float"):
        trainer(hooks.EvalHook(0, lambda: result)).train(0, 1)


def test_no_evaluation_after_an_error():
    calls = []
    loop = trainer(hooks.EvalHook(0, lambda: calls.append(1)))
    loop.data_loader = []
    with pytest.raises(StopIteration):
        loop.train(0, 3)
    assert calls == []


def test_periodic_checkpoints(tmp_path):
    loop = trainer()
    checkpointer = DetectionCheckpointer(loop.model, str(tmp_path), trainer=loop)
    loop.register_hooks([hooks.PeriodicCheckpointer(checkpointer, 4)])
    loop.train(0, 10)
    names = sorted(p.name for p in tmp_path.glob("*.pth"))
    assert names == ["model_0000003.pth", "model_0000007.pth", "model_final.pth"]
    assert torch.load(tmp_path / names[0], weights_only=True)["trainer"]["iteration"] == 3


class Saved:
    def __init__(self):
        self.calls = []

    def save(self, name, **state):
        self.calls.append((name, state["iteration"]))


@pytest.mark.parametrize(
    ("mode", "values", "expected"),
    [
        ("max", [0.3, 0.2, 0.4, 0.4], [1, 5]),
        ("min", [0.3, 0.2, 0.4, 0.1], [1, 3, 8]),
        ("max", [float("nan"), 0.2, 0.1, 0.3], [3, 8]),
    ],
)
def test_best_checkpoint(mode, values, expected):
    values, saved = iter(values), Saved()
    trainer(
        hooks.EvalHook(2, lambda: {"m": next(values)}),
        hooks.BestCheckpointer(2, saved, "m", mode=mode, file_prefix="best"),
    ).train(0, 8)
    assert saved.calls == [("best", i) for i in expected]


def test_best_checkpoint_without_the_metric(caplog):
    saved = Saved()
    with caplog.at_level("WARNING"):
        trainer(hooks.BestCheckpointer(1, saved, "m")).train(0, 2)
    assert saved.calls == []
    assert "does not seem to be computed" in caplog.text
    with pytest.raises(AssertionError):
        hooks.BestCheckpointer(1, saved, "m", mode="best")


def test_schedule_of_torch():
    loop = trainer()
    scheduler = torch.optim.lr_scheduler.StepLR(loop.optimizer, 2, gamma=0.1)
    hook = hooks.LRScheduler(scheduler=scheduler)
    loop.register_hooks([hook])
    loop.train(0, 4)
    rates = [rate for rate, _ in loop.storage.history("lr").values()]
    assert rates == pytest.approx([1, 1, 0.1, 0.1])
    assert hook.state_dict()["last_epoch"] == 4


def test_schedule_of_fvcore_multiplies_and_resumes():
    loop = trainer()
    hook = hooks.LRScheduler(loop.optimizer, CosineParamScheduler(1, 0))
    loop.register_hooks([hook])
    loop.train(0, 4)
    assert isinstance(hook.scheduler, LRMultiplier)
    rates = [rate for rate, _ in loop.storage.history("lr").values()]
    assert rates[2] == pytest.approx(0.5)


def test_schedule_of_the_trainer():
    loop = trainer()
    loop.scheduler = torch.optim.lr_scheduler.StepLR(loop.optimizer, 1, gamma=0.5)
    loop.register_hooks([hooks.LRScheduler()])
    loop.train(0, 3)
    assert loop.optimizer.param_groups[0]["lr"] == 0.125


@pytest.mark.parametrize(
    ("groups", "expected"),
    [([(1, 1), (3, 2), (2, 3)], 1), ([(1, 5), (1, 7), (1, 7)], 1), ([(2, 1), (2, 9)], 0)],
    ids=["largest", "commonest", "first"],
)
def test_shown_rate(groups, expected):
    optimizer = torch.optim.SGD(
        [
            {"params": [nn.Parameter(torch.zeros(1)) for _ in range(size)], "lr": rate}
            for size, rate in groups
        ],
        lr=1.0,
    )
    assert hooks.LRScheduler.get_best_param_group_id(optimizer) == expected


def test_precise_batch_norm_is_the_average_over_batches():
    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(1)

        def forward(self, x):
            return self.norm(x).sum()

    model = Norm()
    batches = [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])]
    hooks.PreciseBN(0, model, batches, 2).update_stats()
    assert model.norm.running_mean.item() == pytest.approx(4.0)
    hook = hooks.PreciseBN(0, nn.Linear(1, 1), batches, 2)  # has nothing to do
    hook.update_stats()


def test_precise_batch_norm_runs_at_the_end():
    loop = trainer()
    data = [torch.full((2, 2), 3.0)] * 10
    calls = []
    hook = hooks.PreciseBN(3, loop.model, data, 1)
    hook.update_stats = lambda: calls.append(loop.iter)
    loop.register_hooks([hook])
    loop.train(0, 7)
    assert calls == [2, 5, 6]


def test_metrics_of_the_evaluation_are_in_the_last_line(tmp_path):
    path = tmp_path / "metrics.json"
    trainer(
        hooks.EvalHook(0, lambda: {"AP": 5.0}),
        hooks.PeriodicWriter([JSONWriter(str(path))], period=2),
    ).train(0, 3)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    assert lines[-1]["AP"] == 5.0


def test_hooks_are_stateless_by_default():
    assert HookBase().state_dict() == {}

"""The loop: order of hooks, metrics, states."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detectron2.engine import AMPTrainer, HookBase, SimpleTrainer, TrainerBase
from detectron2.utils.events import get_event_storage


class Line(nn.Module):
    """Loss |w - x|, so that SGD of rate 1 moves w by one towards x."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return {"near": (self.w - x).abs(), "far": 0 * self.w + 2.0}


def trainer(data=(5.0,) * 100, model=None, **kwargs):
    model = Line() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return SimpleTrainer(model, list(data), optimizer, **kwargs)


class Recorder(HookBase):
    def __init__(self, calls):
        self.calls = calls

    def record(self, name):
        assert get_event_storage().iter == self.trainer.iter
        self.calls.append((name, self.trainer.iter))

    def before_train(self):
        self.record("before_train")

    def after_train(self):
        self.record("after_train")

    def before_step(self):
        self.record("before_step")

    def after_backward(self):
        self.record("after_backward")

    def after_step(self):
        self.record("after_step")


def test_order_of_calls():
    calls = []
    loop = trainer()
    loop.register_hooks([Recorder(calls), None])
    loop.train(3, 5)
    step = ["before_step", "after_backward", "after_step"]
    expected = [("before_train", 3)]
    expected += [(name, i) for i in (3, 4) for name in step]
    assert calls == [*expected, ("after_train", 5)]
    assert (loop.start_iter, loop.max_iter, loop.iter) == (3, 5, 5)


def test_after_train_runs_after_an_error_too():
    calls = []
    loop = trainer(data=[1.0])  # there is no second batch
    loop.register_hooks([Recorder(calls)])
    with pytest.raises(StopIteration):
        loop.train(0, 5)
    assert calls[-1] == ("after_train", 1)


def test_only_hooks_can_be_registered():
    with pytest.raises(AssertionError):
        trainer().register_hooks([object()])
    with pytest.raises(NotImplementedError):
        TrainerBase().run_step()


@pytest.mark.parametrize("options", [{}, {"zero_grad_before_forward": True}])
def test_each_step_is_one_update(options):
    loop = trainer(**options)
    loop.train(0, 3)
    assert loop.model.w.item() == 3.0


def test_losses_and_their_sum_are_stored():
    loop = trainer()
    loop.train(0, 2)
    assert loop.storage.history("near").values() == [(5.0, 0), (4.0, 1)]
    assert loop.storage.history("total_loss").values() == [(7.0, 0), (6.0, 1)]
    assert len(loop.storage.history("data_time").values()) == 2


def test_a_bare_loss_is_the_total():
    class Bare(Line):
        def forward(self, x):
            return super().forward(x)["near"]

    loop = trainer(model=Bare())
    loop.train(0, 2)
    assert loop.model.w.item() == 2.0
    assert loop.storage.history("total_loss").values() == [(5.0, 0), (4.0, 1)]


def test_gather_period_and_asynchronous_writing():
    loop = trainer(gather_metric_period=2, async_write_metrics=True)
    loop.train(0, 5)
    assert [i for _, i in loop.storage.history("total_loss").values()] == [1, 3]


def test_infinite_loss_stops_the_training():
    with pytest.raises(FloatingPointError, match="iteration=1"):
        trainer(data=[1.0, float("nan")]).train(0, 2)


def test_model_must_stay_in_training_mode():
    loop = trainer()
    loop.model.eval()
    with pytest.raises(AssertionError):
        loop.train(0, 1)


def test_new_data_loader():
    loop = trainer(data=[5.0])
    loop.train(0, 1)
    loop.reset_data_loader(lambda: [-5.0])
    loop.train(0, 1)
    assert loop.model.w.item() == 0.0


class Counter(HookBase):
    def __init__(self):
        self.count = 0

    def after_step(self):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_state_goes_into_another_trainer():
    loop = trainer()
    loop.register_hooks([Counter()])
    loop.train(0, 4)
    state = loop.state_dict()
    assert state["iteration"] == 4
    assert state["hooks"] == {"Counter": {"count": 4}}
    assert state["optimizer"]["param_groups"][0]["lr"] == 1.0
    other, counter = trainer(), Counter()
    other.register_hooks([counter])
    other.load_state_dict(state)
    assert (other.iter, counter.count) == (4, 4)


def test_state_of_an_unknown_hook_is_ignored(caplog):
    loop = trainer()
    loop.register_hooks([Counter()])
    with caplog.at_level("WARNING"):
        other = trainer()
        other.load_state_dict(loop.state_dict())
    assert "Counter" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_mixed_precision_needs_cuda():
    model = Line()
    loop = AMPTrainer(model, [1.0], torch.optim.SGD(model.parameters(), lr=1.0))
    with pytest.raises(AssertionError, match="CUDA is required"):
        loop.train(0, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_mixed_precision():
    class Halves(Line):
        def forward(self, x):
            seen.append((torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")).dtype)
            return super().forward(x)

    seen = []
    model = Halves().cuda()
    loop = AMPTrainer(model, [5.0] * 9, torch.optim.SGD(model.parameters(), lr=1.0))
    loop.train(0, 3)
    assert model.w.item() == 3.0
    assert set(seen) == {torch.float16}
    assert "grad_scaler" in loop.state_dict()

"""The evaluation loop, combined evaluators, and what is done with results."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

from detectron2.evaluation import (
    DatasetEvaluator,
    DatasetEvaluators,
    inference_context,
    inference_on_dataset,
    print_csv_format,
    verify_results,
)
from detectron2.evaluation.testing import flatten_results_dict


class Recorder(DatasetEvaluator):
    """Keeps everything it is given."""

    def __init__(self, key="recorded"):
        self.key = key

    def reset(self):
        self.seen = []

    def process(self, inputs, outputs):
        self.seen.append((inputs, outputs))

    def evaluate(self):
        return {self.key: {"count": len(self.seen)}}


class Doubler(torch.nn.Module):
    """Doubles its inputs and notes the mode it was called in."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs):
        self.called_in = (self.training, torch.is_grad_enabled())
        return [x * self.weight for x in inputs]


@pytest.mark.parametrize("num_batches", [1, 3, 12])
def test_every_batch_is_processed_once_in_order(num_batches):
    model, recorder = Doubler().train(), Recorder()
    loader = [[torch.tensor(float(i))] for i in range(num_batches)]
    results = inference_on_dataset(model, loader, recorder)
    assert results == {"recorded": {"count": num_batches}}
    assert [inputs[0].item() for inputs, _ in recorder.seen] == list(range(num_batches))
    assert all(o[0] == 2 * i[0] for i, o in recorder.seen)
    assert model.called_in == (False, False)
    assert model.training


def test_a_function_can_be_evaluated_by_a_list():
    first, second = Recorder("a"), Recorder("b")
    results = inference_on_dataset(lambda inputs: inputs, [[1], [2]], [first, second])
    assert results == {"a": {"count": 2}, "b": {"count": 2}}


def test_no_evaluator_gives_an_empty_result():
    assert inference_on_dataset(lambda inputs: inputs, [[1]], None) == {}


def test_callbacks_come_in_order():
    events = []
    names = ("on_start", "before_inference", "after_inference", "on_end")
    callbacks = {name: lambda name=name: events.append(name) for name in names}

    def model(inputs):
        events.append("model")

    inference_on_dataset(model, [[1], [2]], None, callbacks=callbacks)
    batch = ["before_inference", "model", "after_inference"]
    assert events == ["on_start", *batch, *batch, "on_end"]


def test_speed_is_logged_in_the_usual_words(caplog, monkeypatch):
    monkeypatch.setattr("detectron2.utils.logger._LOG_TIMER", {})  # as if nothing was logged yet
    with caplog.at_level(logging.INFO, logger="detectron2.evaluation.evaluator"):
        inference_on_dataset(lambda inputs: inputs, [[1]] * 15, None)
    text = caplog.text
    assert "Start inference on 15 batches" in text
    assert "Inference done 11/15. Dataloading: 0.0" in text
    assert "s / iter per device, on 1 devices)" in text


@pytest.mark.parametrize("was_training", [True, False])
def test_inference_context_restores_the_mode(was_training):
    model = Doubler().train(was_training)
    with inference_context(model):
        assert not model.training
    assert model.training is was_training


def test_combined_evaluators_refuse_equal_keys():
    both = DatasetEvaluators([Recorder("same"), Recorder("same")])
    both.reset()
    with pytest.raises(AssertionError):
        both.evaluate()


def test_combined_evaluators_skip_none():
    both = DatasetEvaluators([DatasetEvaluator(), Recorder("b")])
    both.reset()
    both.process([1], [2])
    assert both.evaluate() == {"b": {"count": 1}}


def test_print_csv_format(caplog):
    results = {"bbox": {"AP": 12.34567, "AP50": 50.0, "AP-cat": 1.0}, "epoch": 3}
    with caplog.at_level(logging.INFO, logger="detectron2.evaluation.testing"):
        print_csv_format(results)
    assert caplog.messages == [
        "copypaste: Task: bbox",
        "copypaste: AP,AP50",
        "copypaste: 12.3457,50.0000",
        "copypaste: epoch=3",
    ]


def expecting(*rows):
    return SimpleNamespace(TEST=SimpleNamespace(EXPECTED_RESULTS=list(rows)))


@pytest.mark.parametrize(
    "rows", [(), [("bbox", "AP", 40.0, 1.0)], [("bbox", "AP", 40.5, 0.5), ("segm", "AP", 3, 0)]]
)
def test_verify_results_accepts(rows):
    assert verify_results(expecting(*rows), {"bbox": {"AP": 40.0}, "segm": {"AP": 3.0}}) is True


@pytest.mark.parametrize(
    "row", [("bbox", "AP", 42.0, 1.0), ("bbox", "AP75", 1.0, 1.0), ("bbox", "bad", 0.0, 9.0)]
)
def test_verify_results_exits(row):
    with pytest.raises(SystemExit) as exit_info:
        verify_results(expecting(row), {"bbox": {"AP": 40.0, "bad": float("nan")}})
    assert exit_info.value.code == 1


def test_flatten_results_dict():
    nested = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert flatten_results_dict(nested) == {"a/b": 1, "a/c/d": 2, "e": 3}

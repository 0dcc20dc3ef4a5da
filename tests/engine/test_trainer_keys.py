"""Keys of whole trainings and evaluations act; what is periodic is what a loop would do."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from detectron2.engine import AMPTrainer, SimpleTrainer
from freeseg.engine import Trainer, evaluate, job
from freeseg.engine.accumulation import AccumulatingAMPTrainer, AccumulatingTrainer
from freeseg.engine.hooks import MetricsWriter
from freeseg.engine.trainer import _step_runner

SCORE = {"sem_seg": {"mIoU": 1.0}}


class Notes(Trainer):
    """Notes when it evaluates, writes metrics and saves; its evaluations cost nothing."""

    notes: list[tuple[str, int]]

    def __init__(self, cfg):
        type(self).notes, type(self).running = [], self
        super().__init__(cfg)
        save = self.checkpointer.save
        self.checkpointer.save = lambda name, **more: (self._note(name), save(name, **more))

    def build_writers(self):
        class Writer:
            write = staticmethod(lambda: self._note("metrics"))
            close = staticmethod(lambda: self._note("closed"))

        return [Writer()]

    @classmethod
    def test(cls, cfg, model, evaluators=None):
        cls.running._note("test")
        return {"sem_seg": {"mIoU": 1.0}}

    def _note(self, what):
        self.notes.append((what, self.iter))


def periodic(last, log, evaluation, checkpoint):
    """What a loop over iterations would do, and in which order."""
    found = []
    for iteration in range(last):
        done, is_last = iteration + 1, iteration + 1 == last
        if evaluation and done % evaluation == 0 and not is_last:
            found.append(("test", iteration))
        if done % log == 0 or is_last or (evaluation and done % evaluation == 0):
            found.append(("metrics", iteration))
        if done % checkpoint == 0:
            found.append((f"model_{iteration:07d}", iteration))
        if is_last:
            found.append(("model_final", iteration))
    return [*found, ("test", last), ("metrics", last), ("closed", last)]


@pytest.mark.parametrize(
    ("last", "log", "evaluation", "checkpoint"),
    [(7, 3, 2, 4), (5, 2, 0, 9), (3, 1, 5, 1)],
)
def test_periods_are_those_of_a_loop(tiny_config, last, log, evaluation, checkpoint, one_thread):
    options = ("SOLVER.MAX_ITER", last, "SOLVER.LOG_PERIOD", log, "TEST.EVAL_PERIOD", evaluation)
    trainer = Notes(
        tiny_config(*options, "SOLVER.CHECKPOINT_PERIOD", checkpoint, "TEST.BEST_METRIC", "")
    )
    trainer.train()
    assert trainer.notes == periodic(last, log, evaluation, checkpoint)


@pytest.mark.parametrize("period", [0, -1])
def test_a_log_period_is_one_or_more(period):
    MetricsWriter([], 1, 0)
    with pytest.raises(ValueError, match=f"must be at least 1, got {period}"):
        MetricsWriter([], period, 0)


@pytest.mark.parametrize(
    ("parts", "has_amp", "device", "kind"),
    [
        *[(1, False, "cuda:0", SimpleTrainer), (1, True, "cuda:0", AMPTrainer)],
        *[(1, True, "cpu", SimpleTrainer), (3, False, "cpu", AccumulatingTrainer)],
        *[(3, True, "cuda", AccumulatingAMPTrainer), (3, True, "cpu", AccumulatingTrainer)],
    ],
)
def test_precision_and_parts_choose_how_steps_are_made(tiny_config, parts, has_amp, device, kind):
    cfg = tiny_config("SOLVER.ACCUMULATION_STEPS", parts, "SOLVER.AMP.ENABLED", has_amp).clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = device
    made = _step_runner(cfg)
    assert getattr(made, "func", made) is kind
    assert getattr(made, "keywords", {}) == ({} if parts == 1 else {"num_parts": 3})


@pytest.mark.parametrize("is_met", [True, False])
def test_expected_results_are_verified_after_training_and_evaluation(
    tiny_config, tmp_path, is_met, monkeypatch, one_thread
):
    monkeypatch.setattr(Trainer, "test", classmethod(lambda *_: SCORE))
    expected = ("TEST.EXPECTED_RESULTS", [["sem_seg", "mIoU", 1.0 if is_met else 3.0, 0.5]])
    weights = ("MODEL.WEIGHTS", tmp_path / "model_final.pth", "SOLVER.MAX_ITER", 1)
    trainer = Trainer(tiny_config(*expected, *weights[2:]))
    for run in (trainer.train, lambda: evaluate(tiny_config(*expected, *weights), resume=False)):
        if is_met:
            assert run() == SCORE
            continue
        with pytest.raises(SystemExit) as stopped:
            run()
        assert stopped.value.code == 1
    for folder in (tmp_path, tmp_path / "evaluation"):  # reported before they were judged
        stored = json.loads((folder / "results.json").read_text())
        assert stored["tiny_val"] == {"sem_seg": {"mIoU": 1.0}}


@pytest.fixture
def torch_as_it_was():
    precision = torch.get_float32_matmul_precision()
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = flags


@pytest.mark.parametrize(
    ("precision", "matmul", "has_tf32"),
    [("", "high", None), ("highest", "highest", False), ("medium", "medium", True)],
)
@pytest.mark.parametrize("benchmark", [True, False])
@pytest.mark.parametrize("is_training", [True, False])
def test_how_torch_computes_is_what_the_configuration_says(
    tiny_config, torch_as_it_was, precision, matmul, has_tf32, benchmark, is_training
):
    torch.set_float32_matmul_precision("high")
    was = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.benchmark = not benchmark
    options = ("FLOAT32_PRECISION", precision, "CUDNN_BENCHMARK", benchmark, "SEED", 11)
    job._set_torch(tiny_config(*options), is_training=is_training)
    drawn = torch.rand(2)
    job._set_torch(tiny_config(*options), is_training=is_training)
    assert torch.equal(torch.rand(2), drawn)
    job._set_torch(tiny_config(*options, "SEED", 12), is_training=is_training)
    assert not torch.equal(torch.rand(2), drawn)
    assert torch.get_float32_matmul_precision() == matmul
    assert torch.backends.cudnn.allow_tf32 == (was if has_tf32 is None else has_tf32)
    assert torch.backends.cudnn.benchmark == (benchmark and is_training)


@pytest.mark.parametrize("seed", [-1, 0])
def test_the_least_seed_is_zero(tiny_config, torch_as_it_was, seed):
    draws = []
    for _ in range(2):
        job._set_torch(tiny_config("SEED", seed), is_training=False)
        draws.append(torch.rand(3))
    assert torch.equal(*draws) == (seed == 0)


@pytest.mark.parametrize(("seed", "is_given"), [(-1, False), (0, True), (5, True)])
def test_a_training_draws_a_seed_where_none_is_given(tiny_config, caplog, seed, is_given):
    with caplog.at_level(logging.WARNING, "freeseg"):
        trainer = Trainer(tiny_config("SEED", seed, "DATASETS.TEST", ()))
        trainer.iter = 0
        trainer.load_state_dict({**trainer.state_dict(), "seed": 99, "iteration": 0})
    assert trainer.seed == 99
    assert any(f"SEED {seed} is ignored" in line for line in caplog.messages) == is_given


@pytest.mark.parametrize(("size", "iterations"), [(2, 3), (3, 2)])
def test_a_batch_has_so_many_photos(
    tiny_config, tiny, monkeypatch, one_thread, tmp_path, size, iterations
):
    sizes = []
    plain = tiny.TinySegmenter.forward
    monkeypatch.setattr(
        tiny.TinySegmenter,
        "forward",
        lambda self, inputs: (sizes.append(len(inputs)), plain(self, inputs))[1],
    )
    options = ("SOLVER.IMS_PER_BATCH", size, "SOLVER.MAX_ITER", iterations, "DATASETS.TEST", ())
    Trainer(tiny_config(*options)).train()
    assert sizes == [size] * iterations
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert saved["trainer"]["position"] == size * iterations

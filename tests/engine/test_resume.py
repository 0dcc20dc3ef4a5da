"""A resumed run: its place is the checkpoint's, its settings are the configuration's."""

from __future__ import annotations

import functools
import json
import logging
import math

import pytest
import torch

from detectron2.engine import AMPTrainer
from freeseg.data.loader import PositionDataset
from freeseg.engine import Trainer
from freeseg.engine import trainer as trainer_module
from freeseg.engine.resume import settings_of

NO_TEST = ("DATASETS.TEST", "()")


def train(cfg, resume=True):
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def rates(folder):
    lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
    return {line["iteration"]: line["lr"] for line in lines if "lr" in line}


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def moments(trainer):
    """What the optimizer remembers, by the name of the parameter."""
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    return {
        names[parameter]: {key: torch.as_tensor(value).clone() for key, value in state.items()}
        for parameter, state in trainer.optimizer.state.items()
    }


def assert_equal_moments(found, expected):
    assert found.keys() == expected.keys()
    for name, state in expected.items():
        assert found[name].keys() == state.keys()
        assert all(torch.equal(found[name][key], value) for key, value in state.items()), name


def resumed(tiny_config, *options):
    trainer = Trainer(tiny_config(*NO_TEST, *options))
    trainer.resume_or_load(resume=True)
    return trainer


# share of BASE_LR at step x * 12 of 12, without warm-up
SCHEDULES = {
    "WarmupPolyLR": lambda x: (1 - x) ** 0.9,
    "WarmupCosineLR": lambda x: 0.5 * (1 + math.cos(math.pi * x)),
    "WarmupMultiStepLR": lambda x: 0.1 ** sum(12 * x >= step for step in (5, 9)),
    "WarmupStepWithFixedGammaLR": lambda x: 0.1 ** int(x * 4),
}


@pytest.mark.parametrize("optimizer", ["ADAMW", "SGD"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_the_longer_schedule(tiny_config, tmp_path, name, optimizer):
    options = (
        *("SOLVER.LR_SCHEDULER_NAME", name, "SOLVER.OPTIMIZER", optimizer, *NO_TEST),
        *("SOLVER.WARMUP_ITERS", 0, "SOLVER.STEPS", "(5, 9)", "SOLVER.NUM_DECAYS", 3),
        *("SOLVER.BACKBONE_MULTIPLIER", 1.0),
    )
    train(tiny_config(*options, "SOLVER.MAX_ITER", 4, "SOLVER.BASE_LR", 0.001))
    train(tiny_config(*options, "SOLVER.MAX_ITER", 12, "SOLVER.BASE_LR", 0.003))
    expected = {step: 0.003 * SCHEDULES[name](step / 12) for step in range(4, 12)}
    found = rates(tmp_path)
    assert {step: found[step] for step in expected} == pytest.approx(expected)


def test_warm_up_is_the_configuration_s(tiny_config, tmp_path):
    options = (*NO_TEST, "SOLVER.POLY_LR_POWER", 1.0, "SOLVER.WARMUP_FACTOR", 0.5)
    train(tiny_config(*options, "SOLVER.MAX_ITER", 3, "SOLVER.WARMUP_ITERS", 0))
    train(tiny_config(*options, "SOLVER.MAX_ITER", 8, "SOLVER.WARMUP_ITERS", 6))
    warm = {3: 0.75, 4: 0.5 + 0.5 * 4 / 6, 5: 0.5 + 0.5 * 5 / 6, 6: 1.0, 7: 1.0}
    found = rates(tmp_path)
    for step, factor in warm.items():
        ratio = found[step] / (factor * (1 - step / 8))
        assert ratio in (pytest.approx(0.01), pytest.approx(0.001))  # head, or backbone


@pytest.mark.parametrize("optimizer", ["ADAMW", "SGD"])
def test_a_run_that_goes_on_equals_one_that_was_never_finished(tiny_config, tmp_path, optimizer):
    def options(folder, steps):
        return (
            *("OUTPUT_DIR", tmp_path / folder, "SOLVER.MAX_ITER", steps, *NO_TEST),
            *("SOLVER.OPTIMIZER", optimizer, "SOLVER.WARMUP_ITERS", 0),
            *("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", "(2, 6)"),
        )

    train(tiny_config(*options("whole", 8)))
    train(tiny_config(*options("parts", 4)))
    train(tiny_config(*options("parts", 8)))
    expected = weights(tmp_path / "whole" / "model_final.pth")
    found = weights(tmp_path / "parts" / "model_final.pth")
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []


def test_settings_of_groups_are_the_configuration_s_and_moments_the_checkpoint_s(tiny_config):
    first = train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 3, "SOLVER.OPTIMIZER", "SGD"))
    expected = moments(first)
    assert all(state["momentum_buffer"].abs().sum() > 0 for state in expected.values())
    trainer = resumed(
        tiny_config,
        *("SOLVER.MAX_ITER", 6, "SOLVER.OPTIMIZER", "SGD", "SOLVER.MOMENTUM", 0.5),
        *("SOLVER.WEIGHT_DECAY", 0.25, "SOLVER.NESTEROV", "True"),
    )
    groups = trainer.optimizer.param_groups
    assert {(group["momentum"], group["nesterov"]) for group in groups} == {(0.5, True)}
    assert 0.25 in {group["weight_decay"] for group in groups}
    assert_equal_moments(moments(trainer), expected)


@pytest.mark.parametrize(
    "options",
    [
        ("SOLVER.BACKBONE_MULTIPLIER", 1.0),  # backbone and head become one group
        ("SOLVER.WEIGHT_DECAY_NORM", 0.01),  # norms get one of their own
    ],
    ids=["fewer groups", "more groups"],
)
def test_moments_stay_with_their_parameters_when_groups_change(tiny_config, options):
    base = ("SOLVER.MAX_ITER", 3, "SOLVER.WEIGHT_DECAY_NORM", 0.0001)
    first = train(tiny_config(*NO_TEST, *base))
    trainer = resumed(tiny_config, *base, *options)
    assert len(trainer.optimizer.param_groups) != len(first.optimizer.param_groups)
    assert_equal_moments(moments(trainer), moments(first))


def test_moments_of_the_other_optimizer_are_left(tiny_config, caplog, tmp_path):
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 2, "SOLVER.OPTIMIZER", "SGD"))
    with caplog.at_level(logging.WARNING, logger="freeseg"):
        trainer = resumed(tiny_config, "SOLVER.MAX_ITER", 4, "SOLVER.OPTIMIZER", "ADAMW")
    assert not trainer.optimizer.state
    assert "resumed with SOLVER.OPTIMIZER ADAMW, was SGD; its moments begin anew" in caplog.messages
    trainer.train()
    assert set(rates(tmp_path)) == {0, 1, 2, 3}


def test_what_differs_is_said_and_nothing_else(tiny_config, caplog):
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 2))
    changed = ("SOLVER.MAX_ITER", 9, "SOLVER.STEPS", "(4, 5)", "SOLVER.CHECKPOINT_PERIOD", 3)
    with caplog.at_level(logging.WARNING, logger="freeseg"):
        resumed(tiny_config, *changed, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5)
    assert caplog.messages == [
        "resumed with SOLVER.CLIP_GRADIENTS.CLIP_VALUE 0.5, was 1.0",
        "resumed with SOLVER.MAX_ITER 9, was 2",
        "resumed with SOLVER.STEPS (4, 5), was (30000,)",
    ]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="freeseg"):
        resumed(tiny_config, "SOLVER.MAX_ITER", 3)
    assert caplog.messages == ["resumed with SOLVER.MAX_ITER 3, was 2"]


@pytest.mark.parametrize("steps", [5, 3], ids=["finished", "lowered below the place"])
def test_nothing_left_to_train_is_said_and_changes_nothing(tiny_config, tmp_path, caplog, steps):
    train(tiny_config("SOLVER.MAX_ITER", 5))
    before, final = rates(tmp_path), weights(tmp_path / "model_final.pth")
    with caplog.at_level(logging.WARNING, logger="freeseg"):
        trainer = train(tiny_config("SOLVER.MAX_ITER", steps))
    wanted = f"the checkpoint has 5 iterations, SOLVER.MAX_ITER is {steps}"
    assert sum(wanted in line for line in caplog.messages) == 1
    assert trainer._last_eval_results["sem_seg"]["mIoU"] >= 0  # it is still evaluated
    assert all(isinstance(group["lr"], float) for group in trainer.optimizer.param_groups)
    after = rates(tmp_path)
    assert {step: after[step] for step in before} == before
    assert set(after) - set(before) <= {5}
    for key, value in trainer.model.state_dict().items():
        assert torch.equal(value, final[key]), key


def test_every_sample_comes_once_when_the_batch_size_changes(tiny_config, monkeypatch, caplog):
    seen = []
    original = PositionDataset.__getitem__

    def spy(dataset, position):
        seen.append(int(position))
        return original(dataset, position)

    monkeypatch.setattr(PositionDataset, "__getitem__", spy)
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 2))  # 4 at a time
    with caplog.at_level(logging.WARNING, logger="freeseg"):
        train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 4, "SOLVER.IMS_PER_BATCH", 3))
    wanted = "resumed with SOLVER.IMS_PER_BATCH 3, was 4; the data go on where they were"
    assert wanted in caplog.messages
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 5, "SOLVER.IMS_PER_BATCH", 3))
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 6, "SOLVER.IMS_PER_BATCH", 2))
    assert seen == list(range(2 * 4 + 3 * 3 + 2))


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_may_be_divided_after_the_resume(tiny_config, tmp_path, parts):
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 2))
    options = ("SOLVER.MAX_ITER", 4, "SOLVER.ACCUMULATION_STEPS", parts)
    trainer = train(tiny_config(*NO_TEST, *options))
    assert trainer.start_iter == 2
    assert set(rates(tmp_path)) == {0, 1, 2, 3}


def with_scaler(monkeypatch, scale):
    make = functools.partial(AMPTrainer, grad_scaler=torch.amp.GradScaler("cpu", init_scale=scale))
    monkeypatch.setattr(trainer_module, "_step_runner", lambda cfg: make)


def test_mixed_precision_may_begin_after_the_resume_and_keeps_its_scale(tiny_config, monkeypatch):
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 2))
    with_scaler(monkeypatch, 512.0)
    trainer = resumed(tiny_config, "SOLVER.MAX_ITER", 4)
    assert trainer._trainer.grad_scaler.get_scale() == 512.0
    trainer.checkpointer.save("model_0000001")
    with_scaler(monkeypatch, 64.0)
    assert resumed(tiny_config, "SOLVER.MAX_ITER", 4)._trainer.grad_scaler.get_scale() == 512.0


def nameless(folder):
    """Makes a checkpoint one of Detectron2, which keeps neither names nor settings."""
    state = torch.load(folder / "model_final.pth", weights_only=True)
    for key in ("parameter_names", "settings", "position"):
        del state["trainer"][key]
    torch.save(state, folder / "model_final.pth")


def test_checkpoints_without_names_and_settings_resume(tiny_config, tmp_path):
    first = train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 3))
    expected = moments(first)
    nameless(tmp_path)
    trainer = resumed(tiny_config, "SOLVER.MAX_ITER", 6)
    assert_equal_moments(moments(trainer), expected)
    assert trainer.data_loader.loader_sampler.start == 12


def test_checkpoints_without_names_must_have_the_same_groups(tiny_config, tmp_path):
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 3))
    nameless(tmp_path)
    with pytest.raises(ValueError, match=r"groups of \[2, 2, 2\] parameters .* \[4, 2\]"):
        resumed(tiny_config, "SOLVER.BACKBONE_MULTIPLIER", 1.0)


def test_a_schedule_that_remembers_goes_on_as_it_was_saved(tiny_config, monkeypatch):
    def halving(cfg, optimizer):
        return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)

    monkeypatch.setattr(Trainer, "build_lr_scheduler", staticmethod(halving))
    options = ("SOLVER.BACKBONE_MULTIPLIER", 1.0)
    train(tiny_config(*NO_TEST, "SOLVER.MAX_ITER", 5, *options))
    trainer = resumed(tiny_config, "SOLVER.MAX_ITER", 8, *options)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == 2 * [0.01 * 0.5**2]


def test_settings_leave_out_what_changes_no_step(tiny_config):
    settings = settings_of(tiny_config())
    assert settings["SOLVER.BASE_LR"] == 0.01
    assert settings["SOLVER.CLIP_GRADIENTS.CLIP_TYPE"] == "value"
    assert settings["DATASETS.TRAIN"] == ("tiny_train",)
    assert settings.keys().isdisjoint({"SOLVER.LOG_PERIOD", "SOLVER.CHECKPOINT_PERIOD"})

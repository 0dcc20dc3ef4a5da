"""What is taken from a checkpoint's optimizer and schedule, without a training."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.engine import build_lr_scheduler
from freeseg.engine.resume import (
    optimizer_place,
    parameter_names,
    report_changes,
    scheduler_place,
    set_rates,
    settings_of,
)


def state(names, kind="betas"):
    """A saved state: one group for each letter of `names` but "|"; moments tell their parameter."""
    groups, count, moments = [], 0, {}
    for part in names.split("|"):
        numbers = list(range(count, count + len(part)))
        moments |= {number: {"moment": f"of {name}"} for number, name in zip(numbers, part)}
        groups.append({"params": numbers, kind: 1, "lr": "saved"})
        count += len(part)
    return {"state": moments, "param_groups": groups}


class Optimizer:
    """One that was configured anew."""

    def __init__(self, names, kind="betas"):
        self.content = state(names, kind)
        for group in self.content["param_groups"]:
            group["lr"] = "configured"

    def state_dict(self):
        return self.content


def place(saved, own, *, saved_names="", names="", kinds=("betas", "betas")):
    optimizer = Optimizer(own, kinds[1])
    letters = list((saved_names or saved).replace("|", ""))
    own_names = list((names or own).replace("|", ""))
    return optimizer_place(state(saved, kinds[0]), letters, optimizer, own_names)


@pytest.mark.parametrize("own", ["ab|cd", "abcd", "d|c|b|a", "ca|db"])
def test_moments_follow_their_names_and_settings_are_configured(own):
    found = place("ab|cd", own)
    letters = own.replace("|", "")
    assert found["state"] == {n: {"moment": f"of {name}"} for n, name in enumerate(letters)}
    assert found["param_groups"] == Optimizer(own).content["param_groups"]


def test_who_is_new_has_no_moments_and_who_is_gone_leaves_none():
    found = place("ab|cd", "b|xd")
    assert found["state"] == {0: {"moment": "of b"}, 2: {"moment": "of d"}}
    bare = state("ab")
    del bare["state"][1]
    found = optimizer_place(bare, ["a", "b"], Optimizer("ba"), ["b", "a"])
    assert found["state"] == {1: {"moment": "of a"}}


@pytest.mark.parametrize("kinds", [("betas", "momentum"), ("momentum", "betas")])
def test_another_optimizer_begins_anew(kinds):
    found = place("ab", "ab", kinds=kinds)
    assert found == {"state": {}, "param_groups": Optimizer("ab", kinds[1]).content["param_groups"]}
    same = place("ab", "ab", kinds=("momentum", "momentum"))
    assert len(same["state"]) == 2


def test_without_names_the_groups_are_the_names():
    found = optimizer_place(state("ab|c"), None, Optimizer("ab|c"), ["x", "y", "z"])
    assert found["state"][2] == {"moment": "of c"}
    with pytest.raises(ValueError, match=r"has groups of \[2, 1\] parameters .* of \[1, 2\]"):
        optimizer_place(state("ab|c"), None, Optimizer("a|bc"), ["x", "y", "z"])


def test_names_are_those_of_the_bare_model_in_the_optimizers_order():
    model = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    groups = [{"params": [model["b"].bias, model["a"].weight]}, {"params": [model["b"].weight]}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    expected = ["b.bias", "a.weight", "b.weight"]
    assert parameter_names(model, optimizer) == expected

    class Copies(nn.parallel.DistributedDataParallel):
        def __init__(self, module):
            nn.Module.__init__(self)
            self.module = module

    assert parameter_names(Copies(model), optimizer) == expected


def config(**solver):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    for key, value in {"WARMUP_ITERS": 0, "MAX_ITER": 10, "POLY_LR_POWER": 1.0, **solver}.items():
        cfg.SOLVER[key] = value
    return cfg


@pytest.mark.parametrize("name", ["WarmupPolyLR", "WarmupCosineLR"])
@pytest.mark.parametrize("step", [0, 4, 10, 11])
def test_closed_schedules_keep_their_place_alone_and_end(name, step):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.5)
    scheduler = build_lr_scheduler(config(LR_SCHEDULER_NAME=name), optimizer)
    saved = {**scheduler.state_dict(), "last_epoch": step, "base_lrs": [9.0]}
    assert scheduler_place(saved, scheduler) == {"last_epoch": step}
    scheduler.load_state_dict(scheduler_place(saved, scheduler))
    optimizer.param_groups[0]["lr"] = 77.0
    set_rates(optimizer, scheduler, 10)
    share = {0: 1.0, 4: 0.6 if name == "WarmupPolyLR" else 0.5 * (1 + 0.30901699), 10: 0.0}
    rate = 77.0 if step > 10 else 0.5 * share[step]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    if step <= 10:
        assert scheduler.get_last_lr() == pytest.approx([rate])


def test_schedules_that_remember_are_as_they_were_saved():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    saved = {**scheduler.state_dict(), "_last_lr": [0.125], "gamma": 0.25}
    assert scheduler_place(saved, scheduler) == saved
    scheduler.load_state_dict(saved)
    set_rates(optimizer, scheduler, 0)
    assert optimizer.param_groups[0]["lr"] == 0.125


def test_settings_are_solvers_keys_that_change_steps():
    cfg = config(STEPS=(3, 4))
    cfg.DATASETS.TRAIN = ["a", "b"]
    settings = settings_of(cfg)
    without = {"SOLVER.CHECKPOINT_PERIOD", "SOLVER.LOG_PERIOD", "SOLVER.REFERENCE_WORLD_SIZE"}
    assert settings.keys().isdisjoint(without)
    assert settings["SOLVER.CLIP_GRADIENTS.NORM_TYPE"] == 2.0
    assert settings["SOLVER.AMP.ENABLED"] is False
    assert settings["DATASETS.TRAIN"] == ("a", "b")
    flat = [key for key, value in cfg.SOLVER.items() if not isinstance(value, dict)]
    assert settings.keys() >= {f"SOLVER.{key}" for key in flat} - without
    assert not any(isinstance(value, dict) for value in settings.values())


def test_each_change_is_told_once_in_the_order_of_the_keys(caplog):
    then = {"C": 1, "A": [1, 2], "B": (3,), "gone": 1, "SOLVER.IMS_PER_BATCH": 2}
    now = {"A": (1, 2), "SOLVER.IMS_PER_BATCH": 3, "new": 2, "C": 2, "B": [4]}
    with caplog.at_level(logging.WARNING, "freeseg"):
        report_changes(then, now)
    assert caplog.messages == [
        "resumed with B [4], was (3,)",
        "resumed with C 2, was 1",
        "resumed with SOLVER.IMS_PER_BATCH 3, was 2; the data go on where they were",
    ]

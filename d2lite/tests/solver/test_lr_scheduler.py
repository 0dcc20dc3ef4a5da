"""Schedules against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from fvcore.common.param_scheduler import CosineParamScheduler, LinearParamScheduler

from detectron2.config import get_cfg
from detectron2.solver import (
    LRMultiplier,
    WarmupCosineLR,
    WarmupMultiStepLR,
    WarmupParamScheduler,
    build_lr_scheduler,
)


def sgd(*rates):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=1.0)


def run(scheduler, optimizer, steps):
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def multi_step(i, warmup_iters=3):
    warmup = min(1.0, 0.1 + 0.9 * i / warmup_iters)
    return warmup * 0.5 ** sum(i >= milestone for milestone in (4, 6))


def test_multi_step_with_warmup():
    optimizer = sgd(1.0)
    scheduler = WarmupMultiStepLR(optimizer, [4, 6], 0.5, warmup_factor=0.1, warmup_iters=3)
    assert run(scheduler, optimizer, 8) == pytest.approx([multi_step(i) for i in range(8)])


def test_multi_step_from_config():
    cfg = get_cfg()
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.STEPS, cfg.SOLVER.GAMMA = 8, (4, 6, 99), 0.5
    cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.WARMUP_FACTOR = 3, 0.1
    optimizer = sgd(1.0)
    scheduler = build_lr_scheduler(cfg, optimizer)
    assert run(scheduler, optimizer, 8) == pytest.approx([multi_step(i) for i in range(8)])


def test_constant_warmup():
    optimizer = sgd(2.0)
    scheduler = WarmupCosineLR(optimizer, 8, 0.25, warmup_iters=2, warmup_method="constant")
    cosine = [1 + math.cos(math.pi * i / 8) for i in range(5)]
    assert run(scheduler, optimizer, 5) == pytest.approx(
        [0.25 * cosine[0], 0.25 * cosine[1], *cosine[2:]]
    )


def test_warmup_ends_where_the_schedule_is_by_then():
    schedule = WarmupParamScheduler(LinearParamScheduler(1.0, 0.0), 0.0, 0.5)
    assert [schedule(x) for x in (0, 0.25, 0.5, 0.75)] == pytest.approx([0, 0.25, 0.5, 0.25])


def test_rescaled_schedule_starts_after_the_warmup():
    schedule = WarmupParamScheduler(LinearParamScheduler(1.0, 0.0), 0.0, 0.5, rescale_interval=True)
    assert [schedule(x) for x in (0, 0.25, 0.5, 0.75)] == pytest.approx([0, 0.5, 1.0, 0.5])


def test_multiplier_keeps_the_ratio_of_groups():
    optimizer = sgd(1.0, 10.0)
    scheduler = LRMultiplier(optimizer, CosineParamScheduler(1, 0), max_iter=10)
    run(scheduler, optimizer, 5)
    first, second = (group["lr"] for group in optimizer.param_groups)
    assert first == pytest.approx(0.5)
    assert second == pytest.approx(5.0)


def test_multiplier_resumes():
    optimizer = sgd(1.0)
    scheduler = LRMultiplier(optimizer, CosineParamScheduler(1, 0), max_iter=10)
    expected = run(scheduler, optimizer, 9)
    optimizer = sgd(1.0)
    scheduler = LRMultiplier(optimizer, CosineParamScheduler(1, 0), max_iter=10)
    run(scheduler, optimizer, 4)
    state, weights = scheduler.state_dict(), optimizer.state_dict()
    assert state == {"base_lrs": [1.0], "last_epoch": 4}
    optimizer = sgd(1.0)
    scheduler = LRMultiplier(optimizer, CosineParamScheduler(1, 0), max_iter=10)
    scheduler.load_state_dict(state)
    optimizer.load_state_dict(weights)
    assert run(scheduler, optimizer, 5) == pytest.approx(expected[4:])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="ParamScheduler"):
        LRMultiplier(sgd(1.0), lambda x: x, max_iter=10)
    with pytest.raises(ValueError, match="sudden"):
        WarmupParamScheduler(CosineParamScheduler(1, 0), 0.1, 0.1, "sudden")
    with pytest.raises(ValueError, match=r"(?i)milestones"):
        WarmupMultiStepLR(sgd(1.0), [6, 4])
    cfg = get_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME = "Nothing"
    with pytest.raises(ValueError, match="Unknown LR scheduler: Nothing"):
        build_lr_scheduler(cfg, sgd(1.0))

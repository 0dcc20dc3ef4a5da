from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.engine import build_lr_scheduler, build_optimizer, parameter_groups


class Model(nn.Module):
    """One parameter of each kind; its backbone's norm is shared with the head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.backbone.relative_position_bias_table = nn.Parameter(torch.ones(5))
        self.backbone.absolute_pos_embed = nn.Parameter(torch.ones(6))
        self.norm = nn.LayerNorm(4)
        self.shared = self.backbone[1]
        self.queries = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def config(**solver):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.SOLVER.BASE_LR = 0.1
    cfg.SOLVER.WEIGHT_DECAY = 0.05
    cfg.SOLVER.WEIGHT_DECAY_NORM = 0.02
    cfg.SOLVER.WEIGHT_DECAY_EMBED = 0.03
    cfg.SOLVER.BACKBONE_MULTIPLIER = 0.5
    for key, value in solver.items():
        cfg.SOLVER[key] = value
    return cfg


def clipping(kind, value, **more):
    cfg = config(**more)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = kind
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = value
    return cfg


RATE_AND_DECAY = {
    "backbone.0.weight": (0.05, 0.05),
    "backbone.0.bias": (0.05, 0.05),
    "backbone.1.weight": (0.05, 0.02),
    "backbone.1.bias": (0.05, 0.02),
    "backbone.relative_position_bias_table": (0.05, 0.0),
    "backbone.absolute_pos_embed": (0.05, 0.0),
    "norm.weight": (0.1, 0.02),
    "norm.bias": (0.1, 0.02),
    "queries.weight": (0.1, 0.03),
    "head.weight": (0.1, 0.05),
    "head.bias": (0.1, 0.05),
}


@pytest.mark.parametrize("kind", ["ADAMW", "SGD"])
def test_every_trainable_parameter_once_with_its_rate_and_decay(kind):
    model = Model()
    optimizer = build_optimizer(config(OPTIMIZER=kind), model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = [
        (names[parameter], (group["lr"], group["weight_decay"]))
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert len(found) == len(RATE_AND_DECAY)
    assert dict(found) == {key: pytest.approx(value) for key, value in RATE_AND_DECAY.items()}
    assert isinstance(optimizer, {"ADAMW": torch.optim.AdamW, "SGD": torch.optim.SGD}[kind])


def test_equal_settings_share_a_group():
    assert len(parameter_groups(config(), Model())) == 6


def test_a_module_that_only_sounds_like_a_backbone_learns_at_the_base_rate():
    model = nn.ModuleDict({"backbone_adapter": nn.Linear(2, 2)})
    assert [group["lr"] for group in parameter_groups(config(), model)] == [0.1]


@pytest.mark.parametrize("kind", ["ADAMW", "SGD"])
def test_a_step_on_the_cpu_is_fused_and_the_same(kind):
    torch.manual_seed(0)
    model = Model()
    plain = copy.deepcopy(model)
    optimizers = [build_optimizer(config(OPTIMIZER=kind), one) for one in (model, plain)]
    assert all(group["fused"] for group in optimizers[0].param_groups)
    for group in optimizers[1].param_groups:
        group["fused"] = False
    for _ in range(3):
        for optimizer in optimizers:
            generator = torch.Generator().manual_seed(1)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()
    for found, expected in zip(model.parameters(), plain.parameters()):
        torch.testing.assert_close(found, expected)


def test_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match="ADAMW or SGD, got 'LION'"):
        build_optimizer(config(OPTIMIZER="LION"), Model())


def steps_of_unit_rate(cfg, gradients, scaler=None):
    """Each parameter's change by one SGD step with the given gradients."""
    parameters = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    optimizer = build_optimizer(cfg, nn.ParameterList(parameters))
    loss = sum((p * torch.tensor(g)).sum() for p, g in zip(parameters, gradients))
    if scaler is None:
        loss.backward()
        optimizer.step()
    else:
        scaler.scale(loss).backward()
        scaler.step(optimizer)
    return [(-parameter.detach()).tolist() for parameter in parameters]


SGD = {"OPTIMIZER": "SGD", "BASE_LR": 1.0, "WEIGHT_DECAY": 0.0, "MOMENTUM": 0.0}


def test_full_model_clipping_bounds_the_norm_of_the_whole_gradient():
    steps = steps_of_unit_rate(clipping("full_model", 1.0, **SGD), [[3.0, 0.0], [4.0]])
    assert steps == [pytest.approx([0.6, 0.0]), pytest.approx([0.8])]


def test_full_model_clipping_keeps_small_gradients():
    steps = steps_of_unit_rate(clipping("full_model", 10.0, **SGD), [[3.0, 0.0], [4.0]])
    assert steps == [[3.0, 0.0], [4.0]]


def test_full_model_clipping_sees_unscaled_gradients_under_mixed_precision():
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    steps = steps_of_unit_rate(clipping("full_model", 1.0, **SGD), [[3.0, 0.0], [4.0]], scaler)
    assert steps == [pytest.approx([0.6, 0.0]), pytest.approx([0.8])]


def test_full_model_clipping_can_be_off():
    cfg = clipping("full_model", 1.0, **SGD)
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = False
    assert steps_of_unit_rate(cfg, [[3.0], [4.0]]) == [[3.0], [4.0]]


@pytest.mark.parametrize(
    ("kind", "expected"), [("value", [[1.0, 1.0], [1.0]]), ("norm", [[0.6, 0.8], [1.0]])]
)
def test_detectron2_clips_each_parameter(kind, expected):
    steps = steps_of_unit_rate(clipping(kind, 1.0, **SGD), [[3.0, 4.0], [5.0]])
    assert steps == [pytest.approx(step, abs=1e-5) for step in expected]


def test_adamw_state_round_trips():
    def trained(steps, model, state=None):
        optimizer = build_optimizer(config(), model)
        if state:
            optimizer.load_state_dict(state)
        for _ in range(steps):
            optimizer.zero_grad()
            model.head(model.queries.weight).square().sum().backward()
            optimizer.step()
        return optimizer.state_dict()

    torch.manual_seed(0)
    whole = Model()
    half = Model()
    half.load_state_dict(whole.state_dict())
    trained(4, whole)
    trained(2, half, trained(2, half))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), half.parameters()))


def rates(cfg, steps):
    optimizer = build_optimizer(cfg, nn.Linear(2, 2))
    scheduler = build_lr_scheduler(cfg, optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


SCHEDULES = {
    "WarmupPolyLR": lambda x: (1 - x) ** 0.9,
    "WarmupCosineLR": lambda x: 0.5 * (1 + math.cos(math.pi * x)),
    "WarmupMultiStepLR": lambda x: 0.1 ** sum(x >= step for step in (0.5, 0.8)),
    "WarmupStepWithFixedGammaLR": lambda x: 0.1 ** int(3 * x + 1e-9),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_follows_its_formula(name):
    cfg = config(
        **{"LR_SCHEDULER_NAME": name, "MAX_ITER": 10, "STEPS": (5, 8), "NUM_DECAYS": 2},
        **{"WARMUP_ITERS": 0, "POLY_LR_POWER": 0.9},
    )
    expected = [0.1 * SCHEDULES[name](step / 10) for step in range(10)]
    assert rates(cfg, 10) == pytest.approx(expected)


def test_poly_warms_up_linearly():
    cfg = config(
        LR_SCHEDULER_NAME="WarmupPolyLR",
        **{"MAX_ITER": 100, "WARMUP_ITERS": 4, "WARMUP_FACTOR": 0.2, "POLY_LR_POWER": 1.0},
    )
    warm = [0.2 + 0.8 * step / 4 for step in range(4)]
    expected = [0.1 * factor * (1 - step / 100) for step, factor in enumerate([*warm, 1.0, 1.0])]
    assert rates(cfg, 6) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["ADAMW", "SGD"])
@pytest.mark.parametrize("devices", [("meta", "cpu"), ("cpu", "meta"), ("meta", "meta")])
def test_steps_are_fused_where_all_parameters_are_on_the_cpu(kind, devices):
    model = nn.ModuleList(nn.Linear(1, 1, device=device) for device in devices)
    optimizer = build_optimizer(config(OPTIMIZER=kind), model)
    assert not any(group["fused"] for group in optimizer.param_groups)
    assert optimizer._step_supports_amp_scaling is False

"""Every key of SOLVER acts: steps and rates against loops and formulas written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from detectron2.config import CfgNode, get_cfg
from freeseg import add_freeseg_config
from freeseg.engine import build_lr_scheduler, build_optimizer
from freeseg.engine.optimizer import warmup_cosine

PLAIN = {
    **{"BASE_LR": 0.1, "BACKBONE_MULTIPLIER": 0.5, "WEIGHT_DECAY": 0.06, "MAX_ITER": 10},
    **{"WEIGHT_DECAY_NORM": 0.02, "WEIGHT_DECAY_EMBED": 0.03, "STEPS": (4, 7), "NUM_DECAYS": 3},
    **{"WARMUP_ITERS": 3, "WARMUP_FACTOR": 0.25, "GAMMA": 0.5, "MOMENTUM": 0.8},
}
CLIPPED = {"CLIP_GRADIENTS.ENABLED": True, "CLIP_GRADIENTS.CLIP_VALUE": 0.7}


def config(**options):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    for key, value in {**PLAIN, **options}.items():
        node, _, name = key.rpartition(".")
        (cfg.SOLVER[node] if node else cfg.SOLVER)[name] = value
    return cfg


class Model(nn.Module):
    """A parameter of each kind, of sizes of their own."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(2, 3)
        self.norm = nn.GroupNorm(1, 4)
        self.queries = nn.Embedding(1, 5)
        self.relative_position_bias_table = nn.Parameter(torch.ones(2))
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))


STEPS = 4


def gradients():
    """Of every parameter at every step; some are small, some are large."""
    generator = np.random.default_rng(3)
    shapes = {name: tuple(one.shape) for name, one in Model().named_parameters()}
    return [
        {name: generator.normal(0, 1 + n, shape) for n, (name, shape) in enumerate(shapes.items())}
        for _ in range(STEPS)
    ]


def trained(cfg):
    """Parameters after some steps of the product."""
    model = Model()
    optimizer = build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    for given in gradients():
        for name, parameter in model.named_parameters():
            parameter.grad = torch.from_numpy(given[name]).float()
        optimizer.step()
        scheduler.step()
    return {name: one.detach().numpy().copy() for name, one in model.named_parameters()}


def rate_and_decay(solver, name):
    rate = solver.BASE_LR * (solver.BACKBONE_MULTIPLIER if name.startswith("backbone") else 1)
    decays = {"norm": solver.WEIGHT_DECAY_NORM, "queries": solver.WEIGHT_DECAY_EMBED}
    decay = {**decays, "relative_position_bias_table": 0.0}.get(
        name.split(".")[0], solver.WEIGHT_DECAY
    )
    if name.endswith(".bias"):
        rate *= solver.BIAS_LR_FACTOR
        decay = decay if solver.WEIGHT_DECAY_BIAS is None else solver.WEIGHT_DECAY_BIAS
    return rate, decay


def clipped(solver, given):
    """Gradients bounded value by value, parameter by parameter, or all together."""
    clip = solver.CLIP_GRADIENTS
    if not clip.ENABLED:
        return given
    if clip.CLIP_TYPE == "value":
        return {
            name: np.clip(one, -clip.CLIP_VALUE, clip.CLIP_VALUE) for name, one in given.items()
        }
    sizes = {name: np.linalg.norm(one.ravel(), clip.NORM_TYPE) for name, one in given.items()}
    if clip.CLIP_TYPE == "full_model":
        whole = np.linalg.norm(
            np.concatenate([one.ravel() for one in given.values()]), clip.NORM_TYPE
        )
        sizes = dict.fromkeys(given, whole)
    return {name: one * min(1, clip.CLIP_VALUE / sizes[name]) for name, one in given.items()}


def by_hand(cfg):
    """The same steps in numpy, from the papers' formulas."""
    solver = cfg.SOLVER
    values = {name: one.detach().double().numpy() for name, one in Model().named_parameters()}
    first = {name: np.zeros_like(one) for name, one in values.items()}
    second = {name: np.zeros_like(one) for name, one in values.items()}
    for step, given in enumerate(gradients()):
        factor = schedule_by_hand(solver, step)
        for name, gradient in clipped(solver, given).items():
            rate, decay = rate_and_decay(solver, name)
            rate *= factor
            if solver.OPTIMIZER == "ADAMW":
                first[name] = 0.9 * first[name] + 0.1 * gradient
                second[name] = 0.999 * second[name] + 0.001 * gradient**2
                mean, spread = (
                    first[name] / (1 - 0.9 ** (step + 1)),
                    second[name] / (1 - 0.999 ** (step + 1)),
                )
                values[name] = values[name] * (1 - rate * decay) - rate * mean / (
                    np.sqrt(spread) + 1e-8
                )
                continue
            gradient = gradient + decay * values[name]
            first[name] = gradient if step == 0 else solver.MOMENTUM * first[name] + gradient
            ahead = gradient + solver.MOMENTUM * first[name]
            values[name] = values[name] - rate * (ahead if solver.NESTEROV else first[name])
    return values


def schedule_by_hand(solver, step):
    """Share of the base rate at a step."""
    done, name = step / solver.MAX_ITER, solver.LR_SCHEDULER_NAME
    start = solver.WARMUP_ITERS / solver.MAX_ITER
    share = step / solver.WARMUP_ITERS if solver.WARMUP_ITERS else 1.0
    is_warming = step < solver.WARMUP_ITERS

    def plain(x):
        if name == "WarmupCosineLR":
            end = solver.BASE_LR_END / solver.BASE_LR
            return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * x))
        if name == "WarmupMultiStepLR":
            return solver.GAMMA ** sum(x * solver.MAX_ITER >= one for one in solver.STEPS)
        if name == "WarmupStepWithFixedGammaLR":
            return solver.GAMMA ** math.floor(x * (solver.NUM_DECAYS + 1) + 1e-9)
        return (1 - x) ** solver.POLY_LR_POWER

    ramp = solver.WARMUP_FACTOR + (1 - solver.WARMUP_FACTOR) * share
    if (
        name == "WarmupPolyLR"
    ):  # multiplies; Detectron2's other schedules go from factor to their place
        value = plain(done)
        value = value if is_warming else max(value, solver.POLY_LR_CONSTANT_ENDING)
        return value * (
            (solver.WARMUP_FACTOR if solver.WARMUP_METHOD == "constant" else ramp)
            if is_warming
            else 1
        )
    first = solver.WARMUP_FACTOR * plain(0)
    if is_warming and solver.WARMUP_METHOD == "constant":
        return first
    if is_warming:
        return first + (plain(0 if solver.RESCALE_INTERVAL else start) - first) * share
    return plain((done - start) / (1 - start)) if solver.RESCALE_INTERVAL else plain(done)


CLIPS = [
    {},
    *(
        {**CLIPPED, "CLIP_GRADIENTS.CLIP_TYPE": kind, "CLIP_GRADIENTS.NORM_TYPE": norm}
        for kind, norm in itertools.product(("value", "norm", "full_model"), (1.0, 2.0, math.inf))
    ),
]
SGD = {"OPTIMIZER": "SGD"}
KINDS = [
    {"OPTIMIZER": "ADAMW"},
    {"OPTIMIZER": "ADAMW", "BIAS_LR_FACTOR": 3.0, "WEIGHT_DECAY_BIAS": 0.4},
    {**SGD, "MOMENTUM": 0.0},
    SGD,
    {**SGD, "NESTEROV": True, "MOMENTUM": 0.6, "WEIGHT_DECAY_BIAS": 0.0, "WEIGHT_DECAY_NORM": 0.3},
]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda one: "-".join(map(str, one.values())) or "free")
@pytest.mark.parametrize("kind", KINDS, ids=lambda one: "-".join(map(str, one.values())))
def test_steps_are_those_of_the_formulas(kind, clip):
    cfg = config(**kind, **clip)
    found, expected = trained(cfg), by_hand(cfg)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_bound_that_is_none_bounds_nothing(value):
    options = {**CLIPPED, "CLIP_GRADIENTS.CLIP_TYPE": "full_model", **SGD}
    found = trained(config(**{**options, "CLIP_GRADIENTS.CLIP_VALUE": value}))
    for name, expected in trained(config(**SGD)).items():
        np.testing.assert_array_equal(found[name], expected)


SCHEDULES = {
    "WarmupMultiStepLR": [{}, {"STEPS": (5,), "GAMMA": 0.3}],
    "WarmupCosineLR": [{}, {"BASE_LR_END": 0.03}],
    "WarmupStepWithFixedGammaLR": [
        {"NUM_DECAYS": 4, "WARMUP_ITERS": 0},
        {"GAMMA": 0.3, "WARMUP_ITERS": 0},
    ],
    "WarmupPolyLR": [{}, {"POLY_LR_POWER": 2.0}, {"POLY_LR_CONSTANT_ENDING": 0.5}],
}
WARMUPS = [{}, {"WARMUP_METHOD": "constant", "WARMUP_ITERS": 2}, {"RESCALE_INTERVAL": True}]


@pytest.mark.parametrize(
    ("name", "options", "warmup"),
    [
        (name, options, warmup)
        for name, rows in SCHEDULES.items()
        for options, warmup in itertools.product(rows, WARMUPS)
    ],
    ids=str,
)
def test_rates_are_those_of_the_formulas(name, options, warmup):
    solver = {"LR_SCHEDULER_NAME": name, **warmup, **options}
    if name in ("WarmupMultiStepLR", "WarmupStepWithFixedGammaLR") and "RESCALE_INTERVAL" in warmup:
        solver["WARMUP_ITERS"] = 0  # a stretched one has its steps elsewhere
    cfg = config(**solver)
    optimizer = build_optimizer(cfg, nn.Linear(2, 2))
    scheduler = build_lr_scheduler(cfg, optimizer)
    found = []
    for _ in range(10):
        found.append(optimizer.param_groups[0]["lr"] / 0.1)
        optimizer.step()
        scheduler.step()
    assert found == pytest.approx([schedule_by_hand(cfg.SOLVER, step) for step in range(10)])


@pytest.mark.parametrize(("warmup", "steps"), [(4, 12), (1, 3), (0, 5), (5, 5)])
def test_a_pretraining_warms_up_and_falls_to_nothing(warmup, steps):
    rise = [(step + 1) / warmup for step in range(warmup)]
    fall = [(1 + math.cos(math.pi * step / (steps - warmup))) / 2 for step in range(steps - warmup)]
    found = [warmup_cosine(step, warmup=warmup, steps=steps) for step in range(steps)]
    assert found == pytest.approx(rise + fall)
    assert warmup_cosine(steps, warmup=warmup, steps=steps) == pytest.approx(
        1.0 if warmup == steps else 0.0
    )


POLY, COSINE = {"LR_SCHEDULER_NAME": "WarmupPolyLR"}, {"LR_SCHEDULER_NAME": "WarmupCosineLR"}
AT_ONCE = {"WARMUP_ITERS": 0}
# what a key needs to show, and two values of it
ACTS = {
    "BASE_LR": ({}, 0.1, 0.2),
    "BASE_LR_END": (COSINE, 0.0, 0.05),
    "BACKBONE_MULTIPLIER": ({}, 0.1, 0.2),
    "BIAS_LR_FACTOR": ({}, 1.0, 2.0),
    "OPTIMIZER": ({}, "SGD", "ADAMW"),
    "MOMENTUM": (SGD, 0.9, 0.5),
    "NESTEROV": (SGD, False, True),
    "WEIGHT_DECAY": ({}, 0.1, 0.2),
    "WEIGHT_DECAY_NORM": ({}, 0.1, 0.2),
    "WEIGHT_DECAY_EMBED": ({}, 0.1, 0.2),
    "WEIGHT_DECAY_BIAS": ({}, None, 0.2),
    "LR_SCHEDULER_NAME": ({}, "WarmupPolyLR", "WarmupCosineLR"),
    "MAX_ITER": (POLY, 10, 9),
    "STEPS": (AT_ONCE, (1,), (2,)),
    "GAMMA": ({**AT_ONCE, "STEPS": (1,)}, 0.1, 0.2),
    "NUM_DECAYS": ({**AT_ONCE, "LR_SCHEDULER_NAME": "WarmupStepWithFixedGammaLR"}, 3, 9),
    "RESCALE_INTERVAL": (COSINE, False, True),
    "WARMUP_FACTOR": ({}, 0.1, 0.2),
    "WARMUP_ITERS": ({}, 2, 3),
    "WARMUP_METHOD": ({}, "linear", "constant"),
    "POLY_LR_POWER": (POLY, 0.9, 2.0),
    "POLY_LR_CONSTANT_ENDING": (POLY, 0.0, 0.95),
    "CLIP_GRADIENTS.ENABLED": (SGD, False, True),
    "CLIP_GRADIENTS.CLIP_TYPE": ({**CLIPPED, **SGD}, "value", "norm"),
    "CLIP_GRADIENTS.CLIP_VALUE": ({**CLIPPED, **SGD}, 0.1, 0.2),
    "CLIP_GRADIENTS.NORM_TYPE": (
        {**CLIPPED, **SGD, "CLIP_GRADIENTS.CLIP_TYPE": "norm"},
        *(1.0, 2.0),
    ),
}
# of whole trainings: tests/engine/test_trainer_keys.py; FSDP: test_sharding.py
OF_A_TRAINING = {
    *("IMS_PER_BATCH", "REFERENCE_WORLD_SIZE", "CHECKPOINT_PERIOD", "AMP.ENABLED"),
    *("ACCUMULATION_STEPS", "FSDP", "LOG_PERIOD"),
}
UNUSED = {"TEST_IMS_PER_BATCH"}


@pytest.mark.parametrize("key", ACTS)
def test_two_values_of_a_key_train_differently(key):
    base, first, second = ACTS[key]
    one, other = (trained(config(**{**base, key: value})) for value in (first, second))
    assert any(not np.allclose(one[name], other[name], rtol=1e-4) for name in one)


def flat(node, prefix=""):
    for key, value in node.items():
        name = f"{prefix}{key}"
        yield from flat(value, f"{name}.") if isinstance(value, CfgNode) else [name]


def test_no_key_is_forgotten():
    assert {*ACTS, *OF_A_TRAINING, *UNUSED} == set(flat(config().SOLVER))

"""Parameter groups and gradient clipping."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detectron2.config import get_cfg
from detectron2.solver import build_optimizer, get_default_optimizer_params
from detectron2.solver.build import (
    _generate_optimizer_class_with_gradient_clipping,
    maybe_add_gradient_clipping,
    reduce_param_groups,
)


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))


def by_name(model, groups):
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: {k: v for k, v in group.items() if k != "params"}
        for group in groups
        for parameter in group["params"]
    }


def test_no_options_give_one_group():
    model = network()
    (group,) = get_default_optimizer_params(model)
    assert list(group) == ["params"]
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}


def test_options_by_kind_of_parameter():
    model = network()
    groups = by_name(
        model,
        get_default_optimizer_params(
            model,
            base_lr=1.0,
            weight_decay=0.1,
            weight_decay_norm=0.0,
            bias_lr_factor=2.0,
            weight_decay_bias=0.5,
        ),
    )
    assert groups["0.weight"] == {"lr": 1.0, "weight_decay": 0.1}
    assert groups["1.weight"] == {"lr": 1.0, "weight_decay": 0.0}
    # A bias is a bias first, in a norm layer as well.
    for name in ("0.bias", "1.bias", "2.bias"):
        assert groups[name] == {"lr": 2.0, "weight_decay": 0.5}


def test_overrides_and_factors_by_name():
    model = network()
    groups = by_name(
        model,
        get_default_optimizer_params(
            model,
            base_lr=1.0,
            lr_factor_func=lambda name: 0.5 if name.startswith("2.") else 1.0,
            overrides={"bias": {"weight_decay": 7.0}},
        ),
    )
    assert groups["2.weight"] == {"lr": 0.5}
    assert groups["2.bias"] == {"lr": 0.5, "weight_decay": 7.0}
    assert groups["0.weight"] == {"lr": 1.0}


def test_frozen_and_shared_parameters():
    model = network()
    model[0].weight.requires_grad = False
    model.append(model[2])
    parameters = [p for g in get_default_optimizer_params(model) for p in g["params"]]
    assert len(parameters) == 5
    assert model[0].weight not in set(parameters)


@pytest.mark.parametrize(
    "options",
    [
        {"bias_lr_factor": 2.0},
        {"lr_factor_func": lambda name: 1.0},
        {"weight_decay_bias": 0.0, "overrides": {"bias": {}}},
    ],
    ids=["bias factor without rate", "factors without rate", "two bias overrides"],
)
def test_conflicting_options_are_refused(options):
    with pytest.raises(ValueError, match=r"base_lr|Conflicting"):
        get_default_optimizer_params(network(), **options)


def test_groups_with_equal_options_are_merged_and_later_ones_win():
    a, b, c = (nn.Parameter(torch.zeros(1)) for _ in range(3))
    reduced = reduce_param_groups(
        [
            {"params": [a, b], "lr": 1.0},
            {"params": [c], "lr": 2.0},
            {"params": [b], "lr": 2.0},
        ]
    )
    assert [(g["lr"], [id(p) for p in g["params"]]) for g in reduced] == [
        (1.0, [id(a)]),
        (2.0, [id(b), id(c)]),
    ]


def clipping_cfg(kind, value):
    cfg = get_cfg()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = kind
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = value
    return cfg


def step_with_gradients(optimizer_type, *gradients):
    parameters = [nn.Parameter(torch.zeros(len(g))) for g in gradients]
    optimizer = optimizer_type(parameters, lr=1.0)
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = torch.tensor(gradient)
    optimizer.step()
    return [(-p.detach()).tolist() for p in parameters]


def test_clipping_by_value():
    clipped = maybe_add_gradient_clipping(clipping_cfg("value", 1.0), torch.optim.SGD)
    assert issubclass(clipped, torch.optim.SGD)
    assert clipped.__name__ == "SGDWithGradientClip"
    assert step_with_gradients(clipped, [3.0, 0.5, -2.0]) == [[1.0, 0.5, -1.0]]


def test_clipping_by_norm_is_per_parameter():
    clipped = maybe_add_gradient_clipping(clipping_cfg("norm", 1.0), torch.optim.SGD)
    first, second = step_with_gradients(clipped, [3.0, 4.0], [0.0, 0.5])
    assert first == pytest.approx([0.6, 0.8], rel=1e-5)
    assert second == pytest.approx([0.0, 0.5])


def test_global_clipping_is_over_all_parameters():
    clipped = _generate_optimizer_class_with_gradient_clipping(
        torch.optim.SGD, global_clipper=lambda p: nn.utils.clip_grad_norm_(p, 1.0)
    )
    first, second = step_with_gradients(clipped, [3.0], [4.0])
    assert (first + second) == pytest.approx([0.6, 0.8], rel=1e-5)


def test_clipping_is_off_by_default():
    assert maybe_add_gradient_clipping(get_cfg(), torch.optim.AdamW) is torch.optim.AdamW


def test_unknown_clipping_is_refused():
    with pytest.raises(ValueError, match="squeeze"):
        maybe_add_gradient_clipping(clipping_cfg("squeeze", 1.0), torch.optim.SGD)


def test_optimizer_from_config():
    cfg = clipping_cfg("value", 1.0)
    cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM, cfg.SOLVER.WEIGHT_DECAY_NORM = 0.5, 0.8, 0.0
    model = network()
    optimizer = build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.SGD)
    assert type(optimizer).__name__ == "SGDWithGradientClip"
    groups = by_name(model, optimizer.param_groups)
    assert groups["1.weight"]["weight_decay"] == 0.0
    assert groups["0.weight"]["weight_decay"] == cfg.SOLVER.WEIGHT_DECAY
    assert {(g["lr"], g["momentum"]) for g in groups.values()} == {(0.5, 0.8)}

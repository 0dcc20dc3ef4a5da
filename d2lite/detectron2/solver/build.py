"""Optimizer and schedule from a config, and the parameter groups they work on."""

from __future__ import annotations

import copy
import logging
from enum import Enum

import torch
from fvcore.common.param_scheduler import (
    CosineParamScheduler,
    MultiStepParamScheduler,
    StepWithFixedGammaParamScheduler,
)
from torch import nn

from .lr_scheduler import LRMultiplier, WarmupParamScheduler

_NORM_TYPES = (
    nn.modules.batchnorm._BatchNorm,  # BatchNorm1d .. 3d and SyncBatchNorm
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)


class GradientClipType(Enum):
    """Values of ``SOLVER.CLIP_GRADIENTS.CLIP_TYPE``."""

    VALUE = "value"
    NORM = "norm"


def build_optimizer(cfg, model):
    """Build SGD from ``cfg.SOLVER``, with gradient clipping when that is enabled."""
    solver = cfg.SOLVER
    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
    )
    optimizer = torch.optim.SGD(
        groups,
        lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        momentum=solver.MOMENTUM,
        nesterov=solver.NESTEROV,
        foreach=True,
    )
    return maybe_add_gradient_clipping(cfg, optimizer)


def get_default_optimizer_params(
    model,
    base_lr=None,
    weight_decay=None,
    weight_decay_norm=None,
    bias_lr_factor=1.0,
    weight_decay_bias=None,
    lr_factor_func=None,
    overrides=None,
):
    """Return parameter groups of the trainable parameters of ``model``.

    Args:
        model: the module.
        base_lr: rate of every parameter; by default the optimizer's.
        weight_decay: decay of every parameter; by default the optimizer's.
        weight_decay_norm: decay of the parameters of normalisation layers.
        bias_lr_factor: factor on the rate of biases; needs ``base_lr``.
        weight_decay_bias: decay of biases.
        lr_factor_func: maps a parameter's full name to a factor on its rate; needs ``base_lr``.
        overrides: ``{name inside its module: {option: value}}``, stronger than all others.
    """
    overrides = _with_bias_overrides(overrides, base_lr, bias_lr_factor, weight_decay_bias)
    if lr_factor_func is not None and base_lr is None:
        raise ValueError("lr_factor_func requires base_lr")
    shared = {"lr": base_lr, "weight_decay": weight_decay}
    shared = {key: value for key, value in shared.items() if value is not None}
    groups, seen = [], set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad:
                continue
            seen.add(parameter)
            options = dict(shared)
            if weight_decay_norm is not None and isinstance(module, _NORM_TYPES):
                options["weight_decay"] = weight_decay_norm
            if lr_factor_func is not None:
                options["lr"] *= lr_factor_func(f"{module_name}.{name}")
            options.update(overrides.get(name, {}))
            groups.append({"params": [parameter], **options})
    return reduce_param_groups(groups)


def _with_bias_overrides(overrides, base_lr, bias_lr_factor, weight_decay_bias):
    overrides = dict(overrides or {})
    bias = {}
    if bias_lr_factor is not None and bias_lr_factor != 1.0:
        if base_lr is None:
            raise ValueError("bias_lr_factor requires base_lr")
        bias["lr"] = base_lr * bias_lr_factor
    if weight_decay_bias is not None:
        bias["weight_decay"] = weight_decay_bias
    if bias:
        if "bias" in overrides:
            raise ValueError("Conflicting overrides for 'bias'")
        overrides["bias"] = bias
    return overrides


def _expand_param_groups(params):
    """Split groups into one per parameter; options of later groups win."""
    expanded = {}
    for group in params:
        assert "params" in group, "a parameter group needs the key params"
        names = group.get("param_names")
        options = {k: v for k, v in group.items() if k not in ("params", "param_names")}
        for i, parameter in enumerate(group["params"]):
            own = expanded.setdefault(parameter, {"params": [parameter]})
            own.update(options)
            if names is not None:
                own["param_names"] = [names[i]]
    return list(expanded.values())


def reduce_param_groups(params):
    """Merge groups with equal options; few large groups make multi-tensor optimizers fast."""
    merged = {}
    for group in _expand_param_groups(params):
        lists = {k: group.pop(k) for k in ("params", "param_names") if k in group}
        into = merged.setdefault(tuple(group.items()), {**group, **{k: [] for k in lists}})
        for key, values in lists.items():
            into[key].extend(values)
    return list(merged.values())


def maybe_add_gradient_clipping(cfg, optimizer):
    """Make an optimizer clip gradients before each step, if ``cfg.SOLVER.CLIP_GRADIENTS`` says so.

    Args:
        cfg: the config.
        optimizer: a class, or an object whose class is then replaced.

    Returns:
        What was given when clipping is disabled; otherwise a subclass, or the same object.
    """
    if not cfg.SOLVER.CLIP_GRADIENTS.ENABLED:
        return optimizer
    is_object = isinstance(optimizer, torch.optim.Optimizer)
    optimizer_type = type(optimizer) if is_object else optimizer
    assert issubclass(optimizer_type, torch.optim.Optimizer), optimizer_type
    clipping_type = _generate_optimizer_class_with_gradient_clipping(
        optimizer_type, per_param_clipper=_create_gradient_clipper(cfg.SOLVER.CLIP_GRADIENTS)
    )
    if not is_object:
        return clipping_type
    optimizer.__class__ = clipping_type
    return optimizer


def _create_gradient_clipper(cfg):
    """Return a function that clips the gradients of one tensor or of several together."""
    cfg = copy.deepcopy(cfg)
    if GradientClipType(cfg.CLIP_TYPE) is GradientClipType.VALUE:
        return lambda p: nn.utils.clip_grad_value_(p, cfg.CLIP_VALUE)
    return lambda p: nn.utils.clip_grad_norm_(p, cfg.CLIP_VALUE, cfg.NORM_TYPE)


def _generate_optimizer_class_with_gradient_clipping(
    optimizer, *, per_param_clipper=None, global_clipper=None
):
    """Subclass an optimizer class; clip each parameter by itself, or all of them together."""
    assert per_param_clipper is None or global_clipper is None, (
        "clipping is either per parameter or global, not both"
    )

    def step(self, closure=None):
        parameters = [p for group in self.param_groups for p in group["params"]]
        if per_param_clipper is None:
            global_clipper(parameters)
        else:
            for parameter in parameters:
                per_param_clipper(parameter)
        return super(clipping_type, self).step(closure)

    clipping_type = type(f"{optimizer.__name__}WithGradientClip", (optimizer,), {"step": step})
    return clipping_type


def build_lr_scheduler(cfg, optimizer):
    """Build the schedule that ``cfg.SOLVER.LR_SCHEDULER_NAME`` names, with its warmup."""
    solver = cfg.SOLVER
    builders = {
        "WarmupMultiStepLR": _multi_step,
        "WarmupCosineLR": _cosine,
        "WarmupStepWithFixedGammaLR": _fixed_gamma,
    }
    if solver.LR_SCHEDULER_NAME not in builders:
        raise ValueError(
            f"Unknown LR scheduler: {solver.LR_SCHEDULER_NAME}; known are {sorted(builders)}"
        )
    schedule = WarmupParamScheduler(
        builders[solver.LR_SCHEDULER_NAME](solver),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
        solver.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)


def _multi_step(solver):
    steps = [step for step in solver.STEPS if step <= solver.MAX_ITER]
    if len(steps) < len(solver.STEPS):
        logging.getLogger(__name__).warning(
            f"SOLVER.STEPS {solver.STEPS} beyond SOLVER.MAX_ITER {solver.MAX_ITER} are ignored"
        )
    return MultiStepParamScheduler(
        values=[solver.GAMMA**i for i in range(len(steps) + 1)],
        milestones=steps,
        num_updates=solver.MAX_ITER,
    )


def _cosine(solver):
    end_value = solver.BASE_LR_END / solver.BASE_LR
    assert 0.0 <= end_value <= 1.0, f"SOLVER.BASE_LR_END / BASE_LR is {end_value}, not in [0, 1]"
    return CosineParamScheduler(1, end_value)


def _fixed_gamma(solver):
    return StepWithFixedGammaParamScheduler(
        base_value=1.0,
        num_decays=solver.NUM_DECAYS,
        gamma=solver.GAMMA,
        num_updates=solver.MAX_ITER,
    )

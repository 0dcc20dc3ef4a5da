"""Optimizer and learning-rate schedule from a configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from detectron2.config import CfgNode
from detectron2.projects.deeplab import build_lr_scheduler as build_deeplab_lr_scheduler
from detectron2.solver.build import maybe_add_gradient_clipping
from freeseg.config import completed
from freeseg.engine.sharding import clip_gradients

NORMS = (
    nn.modules.batchnorm._NormBase,  # batch and instance norms, synchronised ones too
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
# Swin's position tables: learned coordinates, not weights, so they are never decayed.
UNDECAYED_NAMES = ("relative_position_bias_table", "absolute_pos_embed")
_BACKBONES = frozenset({"backbone", "bert"})  # by names of modules


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD over `model`'s trainable parameters, with the configured gradient clipping.

    On a CPU a step is one pass over the memory of each parameter (PyTorch's "fused").
    """
    cfg = completed(cfg)
    groups = parameter_groups(cfg, model)
    parameters = [p for group in groups for p in group["params"]]
    is_fused = (
        all(p.device.type == "cpu" and not isinstance(p, DTensor) for p in parameters) or None
    )
    optimizer: torch.optim.Optimizer
    if cfg.SOLVER.OPTIMIZER == "ADAMW":
        optimizer = torch.optim.AdamW(groups, lr=cfg.SOLVER.BASE_LR, fused=is_fused)
    elif cfg.SOLVER.OPTIMIZER == "SGD":
        optimizer = torch.optim.SGD(
            groups,
            lr=cfg.SOLVER.BASE_LR,
            momentum=cfg.SOLVER.MOMENTUM,
            nesterov=cfg.SOLVER.NESTEROV,
            fused=is_fused,
        )
    else:
        raise ValueError(f"SOLVER.OPTIMIZER must be ADAMW or SGD, got {cfg.SOLVER.OPTIMIZER!r}")
    # A gradient scaler must unscale before gradients are clipped, not leave it to a fused step.
    optimizer._step_supports_amp_scaling = False
    if cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE == "full_model":
        return _clip_full_model(cfg.SOLVER.CLIP_GRADIENTS, optimizer)
    return maybe_add_gradient_clipping(cfg, optimizer)


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
    """WarmupPolyLR, or any schedule that Detectron2 knows (multi-step, cosine, fixed gamma)."""
    if cfg.SOLVER.LR_SCHEDULER_NAME == "WarmupStepWithFixedGammaLR":
        cfg = _in_steps(cfg)
    return build_deeplab_lr_scheduler(completed(cfg), optimizer)


def warmup_cosine(step: int, *, warmup: int, steps: int) -> float:
    """Learning rate of a step over the highest: a linear rise, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Every trainable parameter once, those with equal rate and decay in one group.

    Shares of parameters (`freeseg.engine.sharding`) and whole ones cannot be in one.

    Backbones, of images and of words, learn at ``BACKBONE_MULTIPLIER`` times the base rate, biases
    at ``BIAS_LR_FACTOR`` times their module's; norms, embeddings and, where ``WEIGHT_DECAY_BIAS``
    is a number, biases have their own weight decay.
    """
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for path, module, name, parameter in _trainable_parameters(model):
        rate = cfg.SOLVER.BASE_LR
        if not _BACKBONES.isdisjoint(path.split(".")):
            rate *= cfg.SOLVER.BACKBONE_MULTIPLIER
        if name == "bias":
            rate *= cfg.SOLVER.BIAS_LR_FACTOR
        kind = rate, _weight_decay(cfg, module, name), isinstance(parameter, DTensor)
        groups.setdefault(kind, []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay, _), parameters in groups.items()
    ]


def _in_steps(cfg: CfgNode) -> CfgNode:
    """Fixed gamma as a multi-step schedule: fvcore's has no rate after the last step and raises."""
    cfg = cfg.clone()
    cfg.defrost()
    num_parts = cfg.SOLVER.NUM_DECAYS + 1
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupMultiStepLR"
    cfg.SOLVER.STEPS = tuple(
        math.ceil(cfg.SOLVER.MAX_ITER * part / num_parts) for part in range(1, num_parts)
    )
    return cfg


def _trainable_parameters(
    model: nn.Module,
) -> Iterator[tuple[str, nn.Module, str, nn.Parameter]]:
    seen: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                yield path, module, name, parameter


def _weight_decay(cfg: CfgNode, module: nn.Module, name: str) -> float:
    if name == "bias" and cfg.SOLVER.WEIGHT_DECAY_BIAS is not None:
        return float(cfg.SOLVER.WEIGHT_DECAY_BIAS)
    if isinstance(module, NORMS):
        return float(cfg.SOLVER.WEIGHT_DECAY_NORM)
    if isinstance(module, nn.Embedding):
        return float(cfg.SOLVER.WEIGHT_DECAY_EMBED)
    if name in UNDECAYED_NAMES:
        return 0.0
    return float(cfg.SOLVER.WEIGHT_DECAY)


def _clip_full_model(clip: CfgNode, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Bounds the norm of the whole gradient before each step.

    A gradient scaler unscales before it calls ``step``, so the bound holds for true gradients
    under mixed precision too.
    """
    if not clip.ENABLED or clip.CLIP_VALUE <= 0:
        return optimizer
    max_norm, norm_type = float(clip.CLIP_VALUE), float(clip.NORM_TYPE)

    def bound_gradient(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        clip_gradients(parameters, max_norm, norm_type)

    optimizer.register_step_pre_hook(bound_gradient)
    return optimizer

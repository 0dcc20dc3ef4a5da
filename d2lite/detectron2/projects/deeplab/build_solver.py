"""Learning rate schedulers by name, the polynomial one included."""

from __future__ import annotations

from detectron2.solver import build_lr_scheduler as build_core_lr_scheduler

from .lr_scheduler import WarmupPolyLR


def build_lr_scheduler(cfg, optimizer):
    """Build ``cfg.SOLVER.LR_SCHEDULER_NAME``: WarmupPolyLR or one of Detectron2's own."""
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME != "WarmupPolyLR":
        return build_core_lr_scheduler(cfg, optimizer)
    return WarmupPolyLR(
        optimizer,
        solver.MAX_ITER,
        warmup_factor=solver.WARMUP_FACTOR,
        warmup_iters=solver.WARMUP_ITERS,
        warmup_method=solver.WARMUP_METHOD,
        power=solver.POLY_LR_POWER,
        constant_ending=solver.POLY_LR_CONSTANT_ENDING,
    )

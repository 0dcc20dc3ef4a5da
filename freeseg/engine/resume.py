"""What a resumed run takes from its checkpoint: its place; settings are the configuration's.

The place is the iteration, the position in the data, the optimizer's moments and the step of the
schedule. Rates, decays, momentum and the length of the schedule come from the configuration, so
that a run can go on longer, or otherwise, than it was begun.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.config import CfgNode
from detectron2.projects.deeplab.lr_scheduler import WarmupPolyLR
from detectron2.solver import LRMultiplier

# Their rates follow from the step alone; others remember, so that they go on as they were saved.
CLOSED_FORM = (WarmupPolyLR, LRMultiplier)
# Of SOLVER: what changes no step, and what has changed the other keys already.
_WITHOUT_EFFECT = ("CHECKPOINT_PERIOD", "LOG_PERIOD", "REFERENCE_WORLD_SIZE")
_CONSEQUENCES = {
    "SOLVER.IMS_PER_BATCH": "; the data go on where they were",
    "SOLVER.OPTIMIZER": "; its moments begin anew",
}

logger = logging.getLogger(__name__)


def settings_of(cfg: CfgNode) -> dict[str, Any]:
    """What decides how a run goes on, by key, to be kept in its checkpoints."""
    solver = {
        key: value
        for key, value in _flat(cfg.SOLVER, "SOLVER").items()
        if key.removeprefix("SOLVER.") not in _WITHOUT_EFFECT
    }
    return {**solver, "DATASETS.TRAIN": tuple(cfg.DATASETS.TRAIN)}


def report_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warns of every setting that is not the checkpoint's."""
    for key in sorted(then.keys() & now.keys()):
        if _comparable(then[key]) != _comparable(now[key]):
            consequence = _CONSEQUENCES.get(key, "")
            logger.warning("resumed with %s %s, was %s%s", key, now[key], then[key], consequence)


def parameter_names(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the optimizer's parameters in its order, which settings and sharding decide."""
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    names = {parameter: name for name, parameter in inner.named_parameters()}
    return [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_place(
    saved: Mapping[str, Any],
    saved_names: Sequence[str] | None,
    optimizer: torch.optim.Optimizer,
    names: Sequence[str],
) -> dict[str, Any]:
    """A state with the moments of `saved` and the settings of `optimizer`.

    Args:
        saved: State of the checkpoint.
        saved_names: Of its parameters; None in checkpoints of others, which have no names.
        optimizer: As configured.
        names: Of its parameters.

    Raises:
        ValueError: Without names, when the parameters are grouped otherwise than they were.
    """
    groups = optimizer.state_dict()["param_groups"]
    if saved_names is None:
        sizes = [
            [len(group["params"]) for group in part] for part in (saved["param_groups"], groups)
        ]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"the checkpoint's optimizer has groups of {sizes[0]} parameters without names, "
                f"the configuration's of {sizes[1]}: resume with the multipliers and weight decays "
                "of SOLVER that it was trained with"
            )
        saved_names = names
    if ("betas" in saved["param_groups"][0]) != ("betas" in groups[0]):
        return {"state": {}, "param_groups": groups}  # AdamW's moments are no use to SGD
    numbers = dict(
        zip(saved_names, (n for group in saved["param_groups"] for n in group["params"]))
    )
    own_numbers = [number for group in groups for number in group["params"]]
    state = {
        number: saved["state"][numbers[name]]
        for number, name in zip(own_numbers, names)
        if numbers.get(name) in saved["state"]
    }
    return {"state": state, "param_groups": groups}


def scheduler_place(saved: Mapping[str, Any], scheduler: Any) -> dict[str, Any]:
    """The part of a schedule's saved state that says where it is."""
    if isinstance(scheduler, CLOSED_FORM):
        return {"last_epoch": saved["last_epoch"]}
    return dict(saved)


def set_rates(optimizer: torch.optim.Optimizer, scheduler: Any, max_iter: int) -> None:
    """Gives every group the rate of the schedule's step; past `max_iter` there is none."""
    rates = scheduler.get_last_lr()
    if isinstance(scheduler, CLOSED_FORM):
        if scheduler.last_epoch > max_iter:
            return
        rates = scheduler.get_lr()
        scheduler._last_lr = rates
    for group, rate in zip(optimizer.param_groups, rates):
        group["lr"] = rate


def _flat(node: CfgNode, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}.{key}"
        found.update(_flat(value, name) if isinstance(value, CfgNode) else {name: value})
    return found


def _comparable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

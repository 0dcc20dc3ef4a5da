"""Models in several processes: a copy in each, or a share of parameters, gradients and states.

Shares are PyTorch's fully sharded data parallelism (FSDP2), for backbones that one device cannot
train.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, distribute_tensor

from detectron2.config import CfgNode
from detectron2.engine import create_ddp_model
from detectron2.utils import comm

MIN_PARAMETERS = 1_000_000  # of a block that is gathered by itself


def distribute(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """Averages gradients over the processes of a distributed job, on CPU as on GPUs."""
    if cfg.SOLVER.FSDP and comm.get_world_size() > 1:
        if cfg.TEST.VIS_PERIOD > 0:
            raise ValueError(
                f"TEST.VIS_PERIOD is {cfg.TEST.VIS_PERIOD}: one process cannot draw pictures with "
                "a model that SOLVER.FSDP divides among all; set it to 0"
            )
        return shard(model)
    on_gpu = next(model.parameters()).is_cuda
    device_ids = [comm.get_local_rank()] if on_gpu else None
    return create_ddp_model(model, device_ids=device_ids)


def share_buffers(model: nn.Module) -> None:
    """Gives every process the main one's buffers, so that all evaluate what a checkpoint holds.

    Batch norms see only their own process's share of the last batch.
    """
    if comm.get_world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def shard(model: nn.Module, min_parameters: int = MIN_PARAMETERS) -> nn.Module:
    """Leaves every process its share of each parameter, in place.

    Blocks of the backbone are gathered one at a time when they compute; what remains of the model
    is one more block. Scalars cannot be divided: every process keeps them, and averages their
    gradients as those of the others are. Losses and results are the model's own.

    Args:
        model: Called by ``model(...)`` alone, except inside `whole`.
        min_parameters: Of a block.

    Raises:
        ImportError: Where PyTorch is too old.
    """
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise ImportError("SOLVER.FSDP needs PyTorch 2.8 or later") from error
    for tensor in (*model.parameters(), *model.buffers()):
        dist.broadcast(tensor.detach(), 0)
    device = next(model.parameters()).device.type
    scalars = {one for one in model.parameters() if one.ndim == 0}
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device, (dist.get_world_size(),)),
        "ignored_params": scalars,
    }
    for block in _blocks(getattr(model, "backbone", model), min_parameters):
        fully_shard(block, **options)
    fully_shard(model, **options)
    for scalar in scalars:
        if scalar.requires_grad:
            scalar.register_post_accumulate_grad_hook(_average_gradient)
    model.register_load_state_dict_pre_hook(_divide_weights)
    return model


def is_sharded(model: nn.Module) -> bool:
    """Whether `shard` was here."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def takes_whole_states(optimizer: torch.optim.Optimizer) -> None:
    """Makes an optimizer of a sharded model load what `gathered` has saved."""
    optimizer.register_load_state_dict_pre_hook(_divide_states)


def clip_gradients(parameters: Sequence[Tensor], max_norm: float, norm_type: float) -> None:
    """``clip_grad_norm_`` of parameters of which some are shares and some are whole."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    shares: list[Tensor] = [one for one in gradients if isinstance(one, DTensor)]
    if not shares:
        nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)
        return
    others = [one for one in gradients if not isinstance(one, DTensor)]
    norms = [nn.utils.get_total_norm(kind, norm_type) for kind in (shares, others) if kind]
    norms = [norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]
    factor = max_norm / (float(torch.stack(norms).norm(norm_type)) + 1e-6)  # as PyTorch has it
    if factor < 1:
        torch._foreach_mul_(shares, factor)
        for gradient in others:
            gradient *= factor


@contextlib.contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Inside, every process has all parameters, and may call the model as often as it likes.

    All processes must enter. A model that is not sharded is left alone.
    """
    try:
        from torch.distributed.fsdp import FSDPModule
    except ImportError:  # before PyTorch 2.6, for which `shard` refuses
        parts = []
    else:
        parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)


def gathered(content: Any) -> Any:
    """The same dicts, lists and values with whole tensors; all processes must ask for it."""
    if isinstance(content, DTensor):
        return content.full_tensor().cpu()
    if isinstance(content, Mapping):
        return {key: gathered(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(gathered(value) for value in content)
    return content


def _blocks(backbone: nn.Module, min_parameters: int) -> list[nn.Module]:
    """Members of lists and sequences in a backbone, those inside others first."""
    members = {
        member: None
        for parent in backbone.modules()
        if isinstance(parent, (nn.ModuleList, nn.Sequential))
        for member in parent
        if sum(parameter.numel() for parameter in member.parameters()) >= min_parameters
    }
    return list(reversed(members))


def _average_gradient(parameter: Tensor) -> None:
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad)
    parameter.grad /= dist.get_world_size()


def _divided(value: Any, like: Tensor) -> Any:
    """The share of a whole tensor, where `like` is a share of one of that shape."""
    if not isinstance(like, DTensor) or not isinstance(value, Tensor) or isinstance(value, DTensor):
        return value
    if value.shape != like.shape:
        return value
    value = value.to(device=like.device, dtype=like.dtype)
    return distribute_tensor(value, like.device_mesh, like.placements)


def _divide_weights(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, parameter in model.named_parameters():
        key = prefix + name
        if key in state:
            state[key] = _divided(state[key], parameter)


def _divide_states(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    numbers = [one for group in state["param_groups"] for one in group["params"]]
    divided = {
        number: {key: _divided(value, parameter) for key, value in state["state"][number].items()}
        for number, parameter in zip(numbers, parameters)
        if number in state["state"]
    }
    return {**state, "state": divided}

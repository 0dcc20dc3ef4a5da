"""Collective operations between training processes; all of them also work without any."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

_LOCAL_PROCESS_GROUP = None
_MISSING_LOCAL_PG_ERROR = (
    "there is no local process group: start workers with detectron2's launch(), or call "
    "comm.create_local_process_group(num_workers_per_machine) after init_process_group()"
)


def _in_distributed_run() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if _in_distributed_run() else 1


def get_rank() -> int:
    """Return the number of this process among all."""
    return dist.get_rank() if _in_distributed_run() else 0


def is_main_process() -> bool:
    """Whether this is the process that logs and saves."""
    return get_rank() == 0


@functools.lru_cache
def create_local_process_group(num_workers_per_machine: int) -> None:
    """Group the ranks of each machine; every process has to call it, at the same point."""
    global _LOCAL_PROCESS_GROUP
    assert _LOCAL_PROCESS_GROUP is None, "the local process group exists already"
    world_size, rank = get_world_size(), get_rank()
    assert world_size % num_workers_per_machine == 0, (world_size, num_workers_per_machine)
    for first in range(0, world_size, num_workers_per_machine):
        members = list(range(first, first + num_workers_per_machine))
        group = dist.new_group(members)  # a collective call: also for the groups of others
        if rank in members:
            _LOCAL_PROCESS_GROUP = group


def _leave_process_groups() -> None:
    """End the distributed run of this process; every process has to call it.

    A group that is alive when the interpreter ends may still have a thread that then asks for the
    interpreter's lock, and aborts the process.
    """
    global _LOCAL_PROCESS_GROUP
    synchronize()  # nobody leaves while another still talks
    _LOCAL_PROCESS_GROUP = None
    create_local_process_group.cache_clear()
    _get_global_gloo_group.cache_clear()
    dist.destroy_process_group()


def get_local_process_group() -> Any:
    """Return the group of this machine's processes, e.g. for a per-machine SyncBN."""
    assert _LOCAL_PROCESS_GROUP is not None, _MISSING_LOCAL_PG_ERROR
    return _LOCAL_PROCESS_GROUP


def get_local_rank() -> int:
    """Return the number of this process among those of its machine."""
    return dist.get_rank(group=get_local_process_group()) if _in_distributed_run() else 0


def get_local_size() -> int:
    """Return the number of processes on this machine."""
    return dist.get_world_size(group=get_local_process_group()) if _in_distributed_run() else 1


def synchronize() -> None:
    """Wait until every process has come here."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:
        dist.barrier(device_ids=[torch.cuda.current_device()])  # nccl warns when left to guess
    else:
        dist.barrier()


@functools.lru_cache
def _get_global_gloo_group() -> Any:
    """Return a group of all ranks that moves CPU memory, made on first use."""
    return dist.new_group(backend="gloo") if dist.get_backend() == "nccl" else dist.group.WORLD


def _group_and_size(group: Any) -> tuple[Any, int]:
    if get_world_size() == 1:
        return None, 1
    group = _get_global_gloo_group() if group is None else group
    return group, dist.get_world_size(group)


def all_gather(data: Any, group: Any = None) -> list[Any]:
    """Return the picklable `data` of every rank, in rank order, on every rank."""
    group, size = _group_and_size(group)
    if size == 1:
        return [data]
    collected = [None] * size
    dist.all_gather_object(collected, data, group=group)
    return collected


def gather(data: Any, dst: int = 0, group: Any = None) -> list[Any]:
    """Return the picklable `data` of every rank on rank `dst`, and an empty list elsewhere."""
    group, size = _group_and_size(group)
    if size == 1:
        return [data]
    collected = [None] * size if dist.get_rank(group=group) == dst else None
    dist.gather_object(data, collected, dst=dst, group=group)
    return collected or []


def shared_random_seed() -> int:
    """Return one random number, the same on every rank; all ranks must call it."""
    return all_gather(np.random.randint(2**31))[0]


def reduce_dict(input_dict: dict[str, torch.Tensor], average: bool = True) -> dict:
    """Return the mean (or sum) over ranks of scalar tensors by name; only rank 0's is complete."""
    world_size = get_world_size()
    if world_size == 1:
        return input_dict
    names = sorted(input_dict)  # the same order on every rank
    with torch.no_grad():
        values = torch.stack([input_dict[name] for name in names])
        dist.reduce(values, dst=0)
        if average and is_main_process():
            values /= world_size
    return dict(zip(names, values))

"""Starting of one process per GPU, or of several on the CPU."""

from __future__ import annotations

import logging
import socket
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from detectron2.utils import comm

__all__ = ["DEFAULT_TIMEOUT", "launch"]

DEFAULT_TIMEOUT = timedelta(minutes=30)


def launch(
    main_func,
    num_gpus_per_machine,
    num_machines=1,
    machine_rank=0,
    dist_url=None,
    args=(),
    timeout=DEFAULT_TIMEOUT,
):
    """Run ``main_func(*args)`` in as many processes as asked for; call it on every machine.

    With CUDA the processes talk through nccl, each with its own GPU; without it through gloo.

    Args:
        main_func: a function of a module, since processes are spawned.
        num_gpus_per_machine: processes per machine. One process on one machine runs right here.
        num_machines: number of machines.
        machine_rank: number of this machine, from 0.
        dist_url: where the processes meet, such as "tcp://127.0.0.1:8686"; "auto" finds a free
            port of this machine.
        args: of ``main_func``.
        timeout: longest wait of a process for the others.
    """
    world_size = num_machines * num_gpus_per_machine
    if world_size <= 1:
        main_func(*args)
        return
    if dist_url == "auto":
        assert num_machines == 1, "dist_url='auto' works on one machine only"
        dist_url = f"tcp://127.0.0.1:{_find_free_port()}"
    if num_machines > 1 and dist_url.startswith("file://"):
        logging.getLogger(__name__).warning("file:// is unreliable between machines; use tcp://")
    meeting = {"init_method": dist_url, "world_size": world_size, "timeout": timeout}
    first_rank = machine_rank * num_gpus_per_machine
    mp.start_processes(
        _run_worker,
        args=(first_rank, num_gpus_per_machine, meeting, main_func, args),
        nprocs=num_gpus_per_machine,
        daemon=False,
    )


def _find_free_port():
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]


def _run_worker(local_rank, first_rank, num_local, meeting, main_func, args):
    has_gpu = torch.cuda.is_available()
    assert not has_gpu or num_local <= torch.cuda.device_count(), (
        f"{num_local} processes need as many GPUs, not {torch.cuda.device_count()}"
    )
    try:
        dist.init_process_group(
            "nccl" if has_gpu else "gloo", rank=first_rank + local_rank, **meeting
        )
    except Exception:
        logging.getLogger(__name__).error(f"no process group at {meeting['init_method']}")
        raise
    comm.create_local_process_group(num_local)
    if has_gpu:
        torch.cuda.set_device(local_rank)
    comm.synchronize()  # nobody starts, and has its timeout run, before all are here
    main_func(*args)
    comm._leave_process_groups()

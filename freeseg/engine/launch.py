"""Starts the processes of one job: Detectron2's launcher on CUDA, gloo processes on CPU.

Under torchrun, or whatever else has started the processes and set its variables, joins them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessException, start_processes

from detectron2.engine import launch as launch_on_gpus
from detectron2.utils import comm
from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.problems import RefusalError
from freeseg.files import WriteError, write_text

# What torchrun tells each of its processes.
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
PATIENCE = 3.0  # seconds that interrupted processes have to end, before they are told to again

logger = logging.getLogger(__name__)


def launch(
    main: Callable[..., Any],
    num_processes: int,
    *,
    device: str,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "auto",
    args: tuple[Any, ...] = (),
) -> None:
    """Runs ``main(*args)`` in `num_processes` processes on each of `num_machines` machines.

    Args:
        main: a module-level function, since it is sent to new interpreters.
        args: of `main`.
        num_processes: processes on this machine, one GPU each when `device` is CUDA.
        device: ``MODEL.DEVICE``; anything but CUDA is run by gloo processes that share the
            machine's threads evenly.
        num_machines: that take part, each calling this function.
        machine_rank: number of this machine, from 0.
        dist_url: where the processes meet, ``tcp://host:port``; ``auto`` is a file in the folder
            for temporary ones, for one machine only.
    """
    if num_processes < 1 or num_machines < 1:
        raise ValueError(
            f"at least one process and one machine are needed, got {num_processes} processes on "
            f"{num_machines} machines"
        )
    if all(name in os.environ for name in TORCHRUN):
        _join_torchrun(main, args, device)
        return
    if num_machines * num_processes == 1:
        main(*args)
        return
    if dist_url == "auto" and num_machines > 1:
        raise ValueError("--dist-url auto works on one machine only; give tcp://HOST:PORT")
    is_cuda = torch.device(device).type == "cuda"
    if is_cuda:
        _check_gpus(num_processes)
    threads = max(1, torch.get_num_threads() // num_processes)
    with tempfile.TemporaryDirectory(prefix="freeseg-") as folder:
        refusal = Path(folder) / "refusal.json"
        main = functools.partial(_keeping_refusal, refusal, main)
        if dist_url == "auto":
            dist_url = f"file://{folder}/meeting"  # a free port may be taken before it is used
        with _answering_for_children(refusal):
            if is_cuda:
                launch_on_gpus(main, num_processes, num_machines, machine_rank, dist_url, args)
                return
            start_processes(
                _cpu_process,
                args=(main, args, num_processes, num_machines, machine_rank, dist_url, threads),
                nprocs=num_processes,
            )


@contextlib.contextmanager
def _answering_for_children(refusal: Path) -> Iterator[None]:
    """Ends all processes on Ctrl-C; raises what `_keeping_refusal` has left for their user."""
    try:
        yield
    except KeyboardInterrupt:
        end_children()
        raise
    except ProcessException:
        if not refusal.exists():
            raise
        raise RefusalError(json.loads(refusal.read_text())) from None


def _keeping_refusal(file: Path, main: Callable[..., Any], *args: Any) -> None:
    """Runs a process of a job; leaves what its user has to mend in a file for its parent."""
    try:
        main(*args)
    except (RefusalError, MissingDataError, WriteError) as error:
        write_text(file, json.dumps(getattr(error, "problems", [str(error)])))
        raise


def end_children() -> None:
    """Ends all processes that this one has started: asks, asks again, and then kills.

    Ctrl-C reaches them too when it is typed in a terminal, so the first time is their own.
    """
    children = multiprocessing.active_children()
    for sign in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        alive = [child for child in children if child.is_alive()]
        for child in alive:
            if sign is not None and child.pid is not None:
                os.kill(child.pid, sign)
        deadline = time.monotonic() + PATIENCE
        for child in alive:
            child.join(max(0.0, deadline - time.monotonic()))


def _join_torchrun(main: Callable[..., Any], args: tuple[Any, ...], device: str) -> None:
    """Joins the group of the processes that torchrun has started, and runs the job."""
    is_cuda = torch.device(device).type == "cuda"
    if is_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if is_cuda else "gloo")
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
    main(*args)
    _leave()


def _check_gpus(num_processes: int) -> None:
    available = torch.cuda.device_count()
    if num_processes > available:
        raise ValueError(
            f"--num-gpus {num_processes}, but this machine has {available}; "
            "add MODEL.DEVICE cpu to use CPU processes"
        )


def _cpu_process(
    local_rank: int,
    main: Callable[..., Any],
    args: tuple[Any, ...],
    num_processes: int,
    num_machines: int,
    machine_rank: int,
    dist_url: str,
    threads: int,
) -> None:
    """Joins the gloo group as one process and runs the job."""
    torch.set_num_threads(threads)
    try:
        dist.init_process_group(
            "gloo",
            init_method=dist_url,
            world_size=num_processes * num_machines,
            rank=machine_rank * num_processes + local_rank,
        )
    except Exception:
        logger.error("the processes could not meet at %s", dist_url)
        raise
    comm.create_local_process_group(num_processes)
    main(*args)
    _leave()


def _leave() -> None:
    """Ends the process groups before the interpreter ends.

    One that Detectron2 still holds by then may have a thread that asks for the interpreter's lock,
    which aborts the process.
    """
    dist.barrier()  # nobody leaves while another still talks
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    dist.destroy_process_group()

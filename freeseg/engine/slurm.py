"""Training jobs on a SLURM cluster through submitit, which is optional."""

from __future__ import annotations

import argparse
import importlib
import os
from dataclasses import dataclass
from typing import Any

from freeseg.engine.job import start_job

FIRST_PORT, NUM_PORTS = 20_000, 20_000  # a job meets at one of these, by its number


@dataclass(frozen=True)
class SlurmSettings:
    """What a job asks the cluster for.

    Attributes:
        folder: For submitit's files and logs; every machine must see it.
        cluster: "slurm", or "local" for processes on this machine.
        nodes: Machines.
        processes: On each, one per GPU.
        minutes: At most; the job is submitted again with --resume when they are over.
        partition: None for the cluster's default.
        modules: Imported first: they register what the configuration names.
        options: Further arguments of submitit's ``update_parameters``.
    """

    folder: str
    cluster: str = "slurm"
    nodes: int = 1
    processes: int = 1
    minutes: int = 24 * 60
    partition: str | None = None
    modules: tuple[str, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


def submit(args: argparse.Namespace, settings: SlurmSettings) -> Any:
    """Submits the job that Detectron2's ``default_argument_parser`` read; returns submitit's job.

    Args:
        args: Of the job.
        settings: Of the cluster; its ``modules`` are imported in every process first.

    Raises:
        ImportError: Without submitit.
    """
    try:
        submitit: Any = importlib.import_module("submitit")
    except ImportError as error:
        raise ImportError("SLURM needs submitit: pip install 'freeseg[slurm]'") from error
    executor = submitit.AutoExecutor(folder=settings.folder, cluster=settings.cluster)
    parameters = {
        "nodes": settings.nodes,
        "tasks_per_node": settings.processes,
        "timeout_min": settings.minutes,
        **dict(settings.options),
    }
    if settings.partition is not None:
        parameters["slurm_partition"] = settings.partition
    executor.update_parameters(**parameters)
    return executor.submit(SlurmTask(args, settings.modules))


@dataclass
class SlurmTask:
    """One process of a submitted job."""

    args: argparse.Namespace
    modules: tuple[str, ...] = ()

    def __call__(self) -> None:
        """Tells `freeseg.engine.launch` what torchrun would, and runs the job."""
        for name in self.modules:
            importlib.import_module(name)
        environment = importlib.import_module("submitit").JobEnvironment()
        number = int("".join(filter(str.isdigit, environment.job_id)) or 0)
        os.environ.update(
            RANK=str(environment.global_rank),
            WORLD_SIZE=str(environment.num_tasks),
            LOCAL_RANK=str(environment.local_rank),
            LOCAL_WORLD_SIZE=str(environment.num_tasks // environment.num_nodes),
            MASTER_ADDR=environment.hostnames[0],
            MASTER_PORT=str(FIRST_PORT + number % NUM_PORTS),
        )
        start_job(self.args)

    def checkpoint(self) -> Any:
        """What submitit submits when the time is over: the same, resumed."""
        self.args.resume = True
        return importlib.import_module("submitit").helpers.DelayedSubmission(self)

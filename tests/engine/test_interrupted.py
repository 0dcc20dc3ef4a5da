"""Ctrl-C ends every process of a job: trainers, and their data loaders' workers."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from freeseg.engine import start_job

LINE = "interrupted: --resume goes on from the last checkpoint"
SECONDS = 600.0  # until a wait is given up; a pass depends on no time
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux's /proc")


def processes_of(session: int) -> list[int]:
    """Processes that still run in a session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(status.parent.name))
    return found


def wait_until(condition) -> bool:
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def run_as_command(args, errors: Path) -> None:
    """What starts a command: a session, Ctrl-C, a place for errors, no logging set up yet."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger().handlers.clear()
    with errors.open("w", buffering=1) as sys.stderr:
        start_job(args)


@pytest.mark.parametrize(
    "send", [os.kill, os.killpg], ids=["to the parent", "to all, as a terminal"]
)
def test_no_process_outlives_an_interrupted_job(tiny_arguments, forking, tmp_path, send):
    options = ["OUTPUT_DIR", tmp_path, "DATALOADER.NUM_WORKERS", 1, "SOLVER.MAX_ITER", 100_000]
    args = tiny_arguments(
        *options, "DATASETS.TEST", "()", flags=["--num-gpus", "2", "--dist-url", "auto"]
    )
    errors, metrics = tmp_path / "errors.txt", tmp_path / "metrics.json"
    fork = multiprocessing.get_context("fork")
    job = fork.Process(target=run_as_command, args=(args, errors))
    job.start()
    try:
        is_training = wait_until(
            lambda: not job.is_alive() or (metrics.exists() and metrics.stat().st_size)
        )
        assert is_training
        assert job.is_alive(), errors.read_text()
        assert len(processes_of(job.pid)) >= 5, "a parent, two trainers, a worker of each"
        send(job.pid, signal.SIGINT)
        job.join(SECONDS)
        assert job.exitcode == 130, errors.read_text()
        assert LINE in errors.read_text()
        assert wait_until(lambda: not processes_of(job.pid)), processes_of(job.pid)
    finally:
        for process in processes_of(job.pid):
            os.kill(process, signal.SIGKILL)
        job.join()

"""Ctrl-C ends every process of a job: trainers, and their data loaders' workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

JOB = Path(__file__).with_name("tiny_job.py")
LINE = "interrupted: --resume goes on from the last checkpoint"
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux's /proc")


def processes_of(session: int) -> list[str]:
    """Commands of the processes that still run in a session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(status.parent.name)
    return found


def wait_until(condition, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


@pytest.mark.slow
@pytest.mark.parametrize(
    "send", [os.kill, os.killpg], ids=["to the parent", "to all, as a terminal"]
)
def test_no_process_outlives_an_interrupted_job(tiny_root, tmp_path, send):
    flags = ["--num-gpus", "2", "OUTPUT_DIR", str(tmp_path), "DATALOADER.NUM_WORKERS", "1"]
    options = ["SOLVER.MAX_ITER", "100000", "SOLVER.LOG_PERIOD", "1", "DATASETS.TEST", "()"]
    job = subprocess.Popen(
        [sys.executable, str(JOB), *flags, *options],
        env={**os.environ, "TINY_ROOT": str(tiny_root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        metrics = tmp_path / "metrics.json"
        assert wait_until(lambda: metrics.exists() and metrics.stat().st_size, 900)
        assert len(processes_of(job.pid)) >= 5, "a parent, two trainers, a worker of each"
        send(job.pid, signal.SIGINT)
        _, errors = job.communicate(timeout=300)
        assert job.returncode == 130, errors
        assert LINE in errors
        assert wait_until(lambda: not processes_of(job.pid)), processes_of(job.pid)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)

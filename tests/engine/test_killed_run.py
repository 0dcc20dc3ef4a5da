"""Training processes that are really killed, and resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

JOB = Path(__file__).with_name("tiny_job.py")
OPTIONS = [
    *("SOLVER.MAX_ITER", "40", "SOLVER.LOG_PERIOD", "4", "SOLVER.CHECKPOINT_PERIOD", "7"),
    *("TEST.EVAL_PERIOD", "15"),
]
TIMES = {"time", "data_time", "rank_data_time", "eta_seconds"}


def start(root, folder, **environment):
    return subprocess.Popen(
        [sys.executable, str(JOB), "--resume", "OUTPUT_DIR", str(folder), *OPTIONS],
        env={**os.environ, "TINY_ROOT": str(root), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def run_to_the_end(root, folder):
    job = start(root, folder)
    _, errors = job.communicate(timeout=300)
    assert job.returncode == 0, errors.decode()


def metrics(folder):
    file = folder / "metrics.json"
    lines = file.read_text().splitlines() if file.exists() else []
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def kill_once_training(job, folder, delay):
    """Kills a job some time after its first metrics have reached the disk."""
    file = folder / "metrics.json"
    while job.poll() is None and not (file.exists() and file.stat().st_size):
        time.sleep(0.005)
    time.sleep(delay)
    job.kill()
    job.communicate()


@pytest.mark.slow
def test_killed_and_resumed_run_equals_an_uninterrupted_one(tiny_root, tmp_path, trained):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    trained("OUTPUT_DIR", whole, *OPTIONS)
    delay = random.uniform(0, 0.5)
    kill_once_training(start(tiny_root, killed), killed, delay)
    dying = start(tiny_root, killed, TINY_DIE_SAVING="2")
    dying.communicate(timeout=300)
    assert dying.returncode in (-signal.SIGKILL, 0)  # 0: too few checkpoints were left to write
    run_to_the_end(tiny_root, killed)

    assert metrics(killed) == metrics(whole), f"killed {delay} s after the first metrics"
    assert len(metrics(whole)) >= 12
    expected = torch.load(whole / "model_final.pth", weights_only=True)["model"]
    found = torch.load(killed / "model_final.pth", weights_only=True)["model"]
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    assert json.loads((killed / "results.json").read_text()) == json.loads(
        (whole / "results.json").read_text()
    )

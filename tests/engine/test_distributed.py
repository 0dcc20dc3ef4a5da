"""Two CPU processes against one, with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from freeseg.engine import evaluate

JOB = Path(__file__).with_name("tiny_job.py")
# float32 sums in another order; AdamW divides by the root of tiny second moments
RELATIVE_NOISE = 1e-4


FLAGS = ("--num-gpus", "2", "--dist-url", "auto")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def run_in_two_processes(root, folder, options, torchrun=False, **environment):
    start = [*TORCHRUN, str(JOB)] if torchrun else [str(JOB), *FLAGS]
    job = subprocess.run(
        [sys.executable, *start, "OUTPUT_DIR", str(folder), *options],
        env={**os.environ, "TINY_ROOT": str(root), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert job.returncode == 0, job.stderr.decode()


def results(folder):
    return json.loads((folder / "results.json").read_text())["tiny_val"]["sem_seg"]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {line["iteration"]: line["loss_pixels"] for line in lines if "loss_pixels" in line}


@pytest.mark.slow
@pytest.mark.parametrize("torchrun", [False, True], ids=["own launcher", "torchrun"])
def test_two_processes_train_and_evaluate_like_one(
    tiny_root, tmp_path, trained, monkeypatch, torchrun
):
    options = ("SOLVER.MAX_ITER", "12", "SOLVER.LOG_PERIOD", "1", "SOLVER.CHECKPOINT_PERIOD", "99")
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("TINY_PLAIN", "1")
    trained("OUTPUT_DIR", one, *options)
    run_in_two_processes(tiny_root, two, options, torchrun, TINY_PLAIN="1")

    assert (two / "log.txt.rank1").exists()
    assert losses(two) == pytest.approx(losses(one), rel=RELATIVE_NOISE)
    assert len(losses(one)) == 12
    assert results(two) == pytest.approx(results(one), rel=RELATIVE_NOISE)
    weights = [
        torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in (one, two)
    ]
    for key in weights[0]:
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_two_processes_evaluate_the_model_that_is_saved(tiny_root, tiny_config, tmp_path):
    """Batch norms differ between processes; every one must evaluate the main process's."""
    two, again = tmp_path / "two", tmp_path / "again"
    run_in_two_processes(tiny_root, two, ("SOLVER.MAX_ITER", "3", "SOLVER.BASE_LR", "0.1"))
    cfg = tiny_config("OUTPUT_DIR", again, "MODEL.WEIGHTS", two / "model_final.pth")
    evaluate(cfg, resume=False)
    assert results(two) == pytest.approx(results(again))

"""Two CPU processes against one, with the same global batch."""

from __future__ import annotations

import json

import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from freeseg.engine import evaluate, start_job

# float32 sums in another order; AdamW divides by the root of tiny second moments
RELATIVE_NOISE = 1e-4


@pytest.fixture
def under_torchrun(tiny_arguments, one_thread, signals_as_they_were):
    """Runs the tiny job in two processes of torchrun's own agent, copies of this one."""

    def run(*options):
        config = LaunchConfig(
            *(1, 1, 2), rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork"
        )
        elastic_launch(config, start_job)(tiny_arguments(*options))

    return run


def results(folder):
    return json.loads((folder / "results.json").read_text())["tiny_val"]["sem_seg"]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return {line["iteration"]: line["loss_pixels"] for line in lines if "loss_pixels" in line}


@pytest.mark.parametrize("starter", ["in_two_processes", "under_torchrun"])
def test_two_processes_train_and_evaluate_like_one(
    tmp_path, trained, monkeypatch, request, starter
):
    options = ("SOLVER.MAX_ITER", "12", "SOLVER.CHECKPOINT_PERIOD", "99")
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("TINY_PLAIN", "1")
    trained("OUTPUT_DIR", one, *options)
    request.getfixturevalue(starter)("OUTPUT_DIR", two, *options)

    assert (two / "log.txt.rank1").exists()
    assert losses(two) == pytest.approx(losses(one), rel=RELATIVE_NOISE)
    assert len(losses(one)) == 12
    assert results(two) == pytest.approx(results(one), rel=RELATIVE_NOISE)
    weights = [
        torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in (one, two)
    ]
    for key in weights[0]:
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-3, atol=1e-5)


def test_two_processes_evaluate_the_model_that_is_saved(tmp_path, tiny_config, in_two_processes):
    """Batch norms differ between processes; every one must evaluate the main process's."""
    two, again = tmp_path / "two", tmp_path / "again"
    in_two_processes("OUTPUT_DIR", two, "SOLVER.MAX_ITER", "3", "SOLVER.BASE_LR", "0.1")
    cfg = tiny_config("OUTPUT_DIR", again, "MODEL.WEIGHTS", two / "model_final.pth")
    evaluate(cfg, resume=False)
    assert results(two) == pytest.approx(results(again))

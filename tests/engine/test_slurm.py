"""A job that submitit starts, on this machine instead of a cluster."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from detectron2.engine import default_argument_parser
from freeseg.cli import main
from freeseg.engine.slurm import SlurmSettings, SlurmTask, submit

TINY = Path(__file__).parent


@pytest.mark.slow
def test_two_tasks_of_a_submitted_job_train_together(tiny, tiny_root, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", f"{TINY}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("TINY_ROOT", str(tiny_root))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "out"
    options = [*tiny.OPTIONS, "OUTPUT_DIR", str(out), "SOLVER.MAX_ITER", "2"]
    args = default_argument_parser().parse_args(options)
    settings = SlurmSettings(
        str(tmp_path / "logs"), "local", processes=2, minutes=60, modules=("tiny_job",)
    )
    submitted = submit(args, settings)
    submitted.results()
    assert (out / "model_final.pth").is_file()
    assert (out / "log.txt.rank1").is_file()
    assert json.loads((out / "results.json").read_text())["tiny_val"]["sem_seg"]["mIoU"] >= 0


def test_the_command_submits_what_it_was_told(tiny_root, tmp_path, monkeypatch, capsys):
    submitted = []
    config = "freeseg://configs/shapes/mask2former_tiny.yaml"

    def keep(args, settings):
        submitted.append((args, settings))
        return SimpleNamespace(job_id="17")

    monkeypatch.setattr("freeseg.cli.submit_slurm.submit", keep)
    cluster = ["--nodes", "2", "--processes", "8", "--minutes", "9", "--partition", "gpu"]
    cluster += ["--folder", str(tmp_path), "--cluster", "local", "--import", "json"]
    training = ["--config-file", config, "--resume", "SOLVER.MAX_ITER", "7"]
    assert main(["submit-slurm", *cluster, "--", *training]) == 0
    [(args, settings)] = submitted
    assert settings == SlurmSettings(str(tmp_path), "local", 2, 8, 9, "gpu", ("json",))
    assert (args.config_file, args.resume) == (config, True)
    assert args.opts == ["SOLVER.MAX_ITER", "7"]
    assert args.dist_url == "auto"
    assert capsys.readouterr().out == f"submitted as job 17, logs in {tmp_path}\n"


def test_a_job_whose_time_is_over_is_submitted_again_with_resume():
    pytest.importorskip("submitit")
    task = SlurmTask(default_argument_parser().parse_args([]))
    again = task.checkpoint()
    assert again.function is task
    assert task.args.resume is True

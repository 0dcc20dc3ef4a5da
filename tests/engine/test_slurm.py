"""A job that submitit starts, on this machine instead of a cluster."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from detectron2.engine import default_argument_parser
from freeseg.cli import main
from freeseg.engine.launch import TORCHRUN
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


class Executor:
    """Submitit's, as far as it is used."""

    made: ClassVar[list[Executor]] = []

    def __init__(self, **options):
        self.options, self.parameters, self.submitted = options, {}, []
        self.made.append(self)

    def update_parameters(self, **parameters):
        self.parameters.update(parameters)

    def submit(self, task):
        self.submitted.append(task)
        return "the job"


@dataclass
class Delayed:
    function: object


@pytest.fixture
def submitit(monkeypatch):
    """Submitit, in its place; the process is the seventh of ten, on the second of two machines."""
    environment = SimpleNamespace(
        job_id="4_217", global_rank=7, num_tasks=10, local_rank=2, num_nodes=2, hostnames=["a", "b"]
    )
    module = SimpleNamespace(
        AutoExecutor=Executor,
        JobEnvironment=lambda: environment,
        helpers=SimpleNamespace(DelayedSubmission=Delayed),
        environment=environment,
    )
    monkeypatch.setitem(sys.modules, "submitit", module)
    monkeypatch.setattr(Executor, "made", [])
    return module


@pytest.mark.parametrize("partition", [None, "gpu"])
def test_the_cluster_is_asked_for_what_the_settings_say(submitit, partition):
    options = (("slurm_account", "us"), ("mem_gb", 3))
    settings = SlurmSettings("logs", "local", 2, 5, 90, partition, ("json",), options)
    args = default_argument_parser().parse_args([])
    assert submit(args, settings) == "the job"
    [executor] = Executor.made
    assert executor.options == {"folder": "logs", "cluster": "local"}
    assert executor.parameters == {
        **{"nodes": 2, "tasks_per_node": 5, "timeout_min": 90, "slurm_account": "us", "mem_gb": 3},
        **({"slurm_partition": "gpu"} if partition else {}),
    }
    assert executor.submitted == [SlurmTask(args, ("json",))]
    assert executor.submitted[0].args is args


def test_a_job_asks_for_little_unless_told():
    assert vars(SlurmSettings("logs")) == {
        **{"folder": "logs", "cluster": "slurm", "nodes": 1, "processes": 1, "minutes": 1440},
        **{"partition": None, "modules": (), "options": ()},
    }
    assert SlurmTask("args").modules == ()


@pytest.mark.parametrize(
    ("job", "port"), [("4_217", 24217), ("job", 20000), ("19999", 39999), ("20000", 20000)]
)
def test_a_process_of_the_cluster_is_told_what_torchrun_would(submitit, monkeypatch, job, port):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    submitit.environment.job_id = job
    started = []
    monkeypatch.setattr(
        "freeseg.engine.slurm.start_job",
        lambda args: started.append((args, {name: os.environ[name] for name in TORCHRUN})),
    )
    sys.modules.pop("this", None)
    SlurmTask("args", ("this",))()
    assert "this" in sys.modules, "imported first"
    told = {"RANK": "7", "WORLD_SIZE": "10", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "5"}
    assert started == [("args", {**told, "MASTER_ADDR": "a", "MASTER_PORT": str(port)})]


def test_without_submitit_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ImportError, match=r"pip install 'freeseg\[slurm\]'"):
        submit(default_argument_parser().parse_args([]), SlurmSettings("logs"))


def test_a_job_whose_time_is_over_is_submitted_again_with_resume(submitit):
    task = SlurmTask(default_argument_parser().parse_args([]))
    assert task.args.resume is False
    again = task.checkpoint()
    assert again == Delayed(task)
    assert task.args.resume is True

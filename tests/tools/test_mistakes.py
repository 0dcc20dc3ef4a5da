"""Mistakes of a user cost one line in every tool that reads a configuration, weights or a name."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
CONFIG = str(ROOT / "configs/shapes/mask2former_tiny.yaml")
NO_KEY = ["MODEL.NO_SUCH_KEY", "3"]
NO_WEIGHTS = ["MODEL.WEIGHTS", "absent.pth"]
PROBES = ["--probes", "absent.json"]

MISTAKES = {
    "train_net: no configuration": (["--config-file", "absent.yaml"], "absent.yaml does not exist"),
    "train_net: wrong key": (["--config-file", CONFIG, *NO_KEY], "NO_SUCH_KEY"),
    "train_net: no weights": (["--config-file", CONFIG, *NO_WEIGHTS], "absent.pth does not exist"),
    "train_net: no dataset": (
        ["--config-file", CONFIG, "DATASETS.TRAIN", "('shape_train_panoptic',)"],
        "no dataset is registered as 'shape_train_panoptic'; did you mean",
    ),
    "visualize_data: no dataset": (["--dataset", "shapes_valpanoptic"], "did you mean shapes_val_"),
    "visualize_data: no configuration": (["--config-file", "absent.yaml"], "does not exist"),
    "visualize_results: no model": (["--model", "camvit"], "did you mean camvid"),
    "visualize_results: no dataset": (
        ["--model", "camvid-mask2former", "--dataset", "absent"],
        "no dataset is registered as 'absent'",
    ),
    "analyze_model: no model": (["--model", "camvit"], "did you mean camvid"),
    "analyze_model: wrong size": (["--model", "camvid", "--size", "480"], "wanted HEIGHTxWIDTH"),
    "evaluate_prompts: wrong key": (["--config-file", CONFIG, *NO_KEY], "NO_SUCH_KEY"),
    "evaluate_prompts: no configuration": (["--config-file", "absent.yaml"], "does not exist"),
    "measure_behaviour: wrong key": (["--config-file", CONFIG, *PROBES, *NO_KEY], "NO_SUCH_KEY"),
    "evaluate_few_shot: wrong key": (
        ["--config-file", CONFIG, "--benchmark", "pascal_5i", "--root", "absent", *NO_KEY],
        "NO_SUCH_KEY",
    ),
    "submit_slurm: no configuration": (["--", "--config-file", "absent.yaml"], "absent.yaml does"),
    "submit_slurm: wrong key": (["--", "--config-file", CONFIG, *NO_KEY], "NO_SUCH_KEY"),
    "submit_slurm: nothing to train": ([], "name what to train by --config-file"),
    "submit_slurm: unknown flag": (
        ["--", "--no-such-flag"],
        "unrecognized arguments: --no-such-flag",
    ),
    "ablate: no variant": (["lseg", "--only", "absent"], "absent"),
    "export_model: no weights": (
        ["a.onnx", "--config-file", CONFIG, "--weights", "absent.pth"],
        "abs",
    ),
    "segment_dataset: wrong key": (
        ["photo.png", "--config-file", CONFIG, "--out", "out", "--opts", *NO_KEY],
        "NO_SUCH_KEY",
    ),
    "convert_weights: no weights": (
        ["absent.pth", "--from", "freeseg", "--output", "b.pth"],
        "absent.pth",
    ),
    "check_parity: no folder": (["--system", "freeseg", "--golden", "absent"], "absent"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(case: str, monkeypatch, tmp_path, capsys) -> None:
    name = case.split(":")[0]
    arguments, told = MISTAKES[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(TOOLS))
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
    assert end.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert told in lines[-1]
    assert "rror: " in lines[-1]
    assert [line for line in lines if line.startswith("Traceback")] == []


def test_a_bug_in_a_job_is_a_traceback(monkeypatch, tmp_path) -> None:
    def broken(args: object) -> None:
        raise ValueError("shapes do not match")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("freeseg.cli.jobs.start_job", broken)
    monkeypatch.setattr(sys, "argv", ["train_net", "--config-file", CONFIG, "MODEL.WEIGHTS", ""])
    with pytest.raises(ValueError, match="shapes do not match"):
        runpy.run_path(str(TOOLS / "train_net.py"), run_name="__main__")

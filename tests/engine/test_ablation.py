"""The study of variants, where training only writes down what it was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freeseg.engine import ablation
from freeseg.engine.ablation import Metric, Study, Variant


def write_down(command, check):
    """In place of training: leaves what a finished run leaves, and what it was asked for."""
    assert check is True
    arguments = command[2:]
    folder = Path(arguments[arguments.index("OUTPUT_DIR") + 1])
    folder.mkdir(parents=True)
    (folder / "arguments.json").write_text(json.dumps(arguments))
    (folder / "model_final.pth").write_text("")
    value = float(arguments[arguments.index("SEED") + 1]) * 10
    (folder / "results.json").write_text(json.dumps({"set": {"sem_seg": {"mIoU": value}}}))


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation.subprocess, "run", write_down)
    return Study(
        tool=tmp_path / "train_net.py",
        config=tmp_path / "main.yaml",
        prompt_config=tmp_path / "prompts.yaml",
        prompt_stages={"prompts": ("A", "1"), "unused": ()},
        variants=(
            Variant("full", "full", ("B", "2"), prompts="prompts"),
            Variant("half", "half", ("C", "3"), prompts="prompts", weights_of="full"),
        ),
        metrics=(Metric("mIoU", "sem_seg", "mIoU"), Metric("PQ", "panoptic_seg", "PQ")),
    )


def asked(folder):
    return json.loads((folder / "arguments.json").read_text())


def test_every_run_gets_its_options_and_the_table_its_means(study, tmp_path):
    output = tmp_path / "out"
    table = study.run(output, [1, 3], ["D", "4"])
    assert table.splitlines() == [
        "| variant | runs | mIoU | PQ |",
        "| --- | ---: | ---: | ---: |",
        "| full | 2 | 20.0 ±10.0 | - |",
        "| half | 2 | 20.0 ±10.0 | - |",
    ]
    assert (output / "table.md").read_text() == table + "\n"
    base = output / "seed3"
    prompts = ["MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT", str(base / "prompts/model_final.pth")]
    full = ["--resume", "B", "2", "D", "4", "SEED", "3", *prompts]
    assert asked(base / "full")[2:-2] == full
    half = ["--eval-only", "MODEL.WEIGHTS", str(base / "full/model_final.pth")]
    assert asked(base / "half")[2:-2] == [*half, "C", "3", "D", "4", "SEED", "3", *prompts]
    assert asked(base / "prompts")[1] == str(tmp_path / "prompts.yaml")
    assert not (base / "unused").exists()


def test_what_is_done_is_not_done_again(study, tmp_path):
    output = tmp_path / "out"
    study.run(output, [1], [])
    before = {path: path.stat().st_mtime_ns for path in output.rglob("arguments.json")}
    study.run(output, [1, 2], [])
    assert len(before) == 3
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert (output / "seed2/half/results.json").is_file()


def test_unfinished_variants_have_no_numbers(study, tmp_path):
    assert study.write_table(tmp_path / "out", [1]).splitlines()[2] == "| full | 0 | - | - |"


def test_a_part_of_the_study_brings_what_it_needs(study):
    assert [one.folder for one in study.select(["full"]).variants] == ["full"]
    with pytest.raises(ValueError, match=r"variants among full, half.*look at full"):
        study.select(["half"])
    with pytest.raises(ValueError, match="look at other"):
        study.select(["other"])

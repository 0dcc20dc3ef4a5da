"""The study of variants, where training only writes down what it was asked for."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from freeseg.engine import ablation
from freeseg.engine.ablation import Metric, Study, Variant, mean, read_metric


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


RUN = {"sem_seg": {"mIoU": 12.34, "none": None}, "panoptic_seg": {"PQ": 3}}


@pytest.mark.parametrize(
    ("task", "key", "value"),
    [("sem_seg", "mIoU", 12.34), ("panoptic_seg", "PQ", 3.0)],
)
def test_a_metric_is_of_the_first_set(task, key, value):
    results = {"first": RUN, "second": {"sem_seg": {"mIoU": 99.0}}, "weights": "w"}
    assert read_metric(results, Metric("x", task, key)) == value


@pytest.mark.parametrize(
    ("task", "key"), [("sem_seg", "none"), ("sem_seg", "other"), ("segm", "mIoU")]
)
def test_what_was_not_measured_is_no_number(task, key):
    assert math.isnan(read_metric({"first": RUN}, Metric("x", task, key)))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        *[([], "-"), ([math.nan], "-"), ([1.26], "1.3"), ([math.nan, 0.0], "0.0")],
        *[([1.0, 4.0, 2.5], "2.5 ±1.5"), ([9.0, math.nan, 2.0], "5.5 ±3.5")],
    ],
)
def test_means_have_half_of_their_spread(values, text):
    assert mean(values) == text


def test_training_stages_are_told_where_they_are(study, tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(ablation.subprocess, "run", lambda command, check: commands.append(command))
    own = replace(study.variants[0], folder="own", config=tmp_path / "own.yaml", prompts="")
    replace(study, variants=(own, *study.variants)).run(tmp_path / "out", [4], ["E", "5"])
    tool = [sys.executable, str(study.tool), "--config-file"]
    base = tmp_path / "out/seed4"
    seed, prompts = ["E", "5", "SEED", "4"], "MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT"
    prompts = [prompts, str(base / "prompts/model_final.pth")]

    def run(config, mode, *options, folder):
        path = str(tmp_path / f"{config}.yaml")
        return [*tool, path, mode, *options, "OUTPUT_DIR", str(base / folder)]

    weights = ("MODEL.WEIGHTS", str(base / "full/model_final.pth"))
    assert commands == [
        run("prompts", "--resume", "A", "1", *seed, folder="prompts"),
        run("own", "--resume", "B", "2", *seed, folder="own"),
        run("main", "--resume", "B", "2", *seed, *prompts, folder="full"),
        run("main", "--eval-only", *weights, "C", "3", *seed, *prompts, folder="half"),
    ]


def test_the_table_is_written_after_every_run(study, tmp_path, monkeypatch):
    tables = []

    def run(command, check):
        path = tmp_path / "out/deep/table.md"
        tables.append(path.read_text().count("| 1 |") if path.exists() else None)
        write_down(command, check)

    monkeypatch.setattr(ablation.subprocess, "run", run)
    study.run(tmp_path / "out/deep", [1], [])
    assert tables == [None, None, 1]
    assert (tmp_path / "out/deep/table.md").read_text().count("| 1 |") == 2


def test_one_weight_file_or_result_is_enough_to_go_on(study, tmp_path):
    base = tmp_path / "out/seed1"
    for folder, name in (("prompts", "model_final.pth"), ("full", "model_final.pth")):
        (base / folder).mkdir(parents=True)
        (base / folder / name).touch()
    (base / "full").rename(base / "kept")  # `write_down` makes it anew
    study.run(tmp_path / "out", [1], [])
    assert not (base / "prompts/arguments.json").exists()
    assert (base / "full/arguments.json").exists()


def test_variants_come_in_the_order_of_the_study(study):
    assert [one.folder for one in study.select(["half", "full"]).variants] == ["full", "half"]
    assert study.select(["full", "half"]).tool == study.tool
    with pytest.raises(ValueError, match=r"look at full, other$"):
        study.select(["other", "half"])


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
    for _ in range(2):
        table = study.write_table(tmp_path / "new/out", [1])
        assert table.splitlines()[2] == "| full | 0 | - | - |"
        assert (tmp_path / "new/out/table.md").read_text() == table + "\n"


def test_a_part_of_the_study_brings_what_it_needs(study):
    assert [one.folder for one in study.select(["full"]).variants] == ["full"]
    with pytest.raises(ValueError, match=r"variants among full, half.*look at full"):
        study.select(["half"])
    with pytest.raises(ValueError, match="look at other"):
        study.select(["other"])

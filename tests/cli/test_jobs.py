"""`freeseg train` and `evaluate`: what is wrong before the first step is lines and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freeseg.cli import main
from freeseg.engine import Trainer, job

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import draw_scenes, instance_json, panoptic_json, write_json

BASE = Path(__file__).resolve().parents[2] / "configs/Base-Mask2Former-small.yaml"
IDS = {"bolt": 1, "nut": 2, "washer": 3}
TREE = {
    "_BASE_": str(BASE),
    "MODEL": {
        "DEVICE": "cpu",
        "SEM_SEG_HEAD": {"NUM_CLASSES": "auto"},
        "MASK_FORMER": {"NUM_OBJECT_QUERIES": 8, "TEST": {"SEMANTIC_ON": False}},
    },
    "INPUT": {"DATASET_MAPPER_NAME": "mask_former_instance", "MIN_SIZE_TRAIN": [32]},
    "SOLVER": {"IMS_PER_BATCH": 1, "MAX_ITER": 1},
    "DATALOADER": {"NUM_WORKERS": 0},
}


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, "train", lambda self: pytest.fail("it was trained"))


@pytest.fixture
def content(tmp_path):
    return instance_json(draw_scenes(tmp_path / "photos"), IDS)


@pytest.fixture
def run(tmp_path, request, capsys):
    """Runs a command on a set with this annotation; gives the exit code and the errors."""

    def of(annotation, *arguments, maps="", command="train"):
        name = f"jobs_{request.node.name}"[:60]
        source = write_json(tmp_path / "set.json", annotation)
        row = [name, source, "photos", maps]
        tree = {**TREE, "DATASETS": {"CUSTOM": [row], "TRAIN": [name], "TEST": []}}
        (tmp_path / "config.yaml").write_text(json.dumps(tree))
        code = main([command, "--config-file", "config.yaml", *map(str, arguments)])
        said = capsys.readouterr().err.splitlines()
        return code, [line for line in said if line.startswith("freeseg: error: ")]

    return of


OVERRIDES = {
    "nothing to train on": (
        ("DATASETS.TRAIN", "()", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 3),
        "DATASETS.TRAIN is empty",
    ),
    "output into a file": (("OUTPUT_DIR", "set.json"), "OUTPUT_DIR is set.json, but set.json is a"),
    "output below a file": (
        ("OUTPUT_DIR", "set.json/a/b"),
        "but set.json is a file: name a folder",
    ),
    "no batch": (("SOLVER.IMS_PER_BATCH", 0), "the global batch size (0) must be a positive"),
}


@pytest.mark.parametrize(("options", "message"), OVERRIDES.values(), ids=OVERRIDES)
def test_a_value_that_cannot_be_used_is_one_line(run, content, options, message):
    code, (line,) = run(content, *options)
    assert code == 2
    assert message in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"images": [], "annotations": []}, "lists no images"), ({}, "was not trained on")],
    ids=["empty", "classes"],
)
def test_an_evaluation_that_cannot_begin_logs_nothing(
    run, content, tmp_path, monkeypatch, request, changes, message
):
    monkeypatch.setattr(job, "begin_log", lambda *_: pytest.fail("the log has begun"))
    classes = [{"id": 1, "name": "nothing", "isthing": 1}]
    write_json(tmp_path / "classes.json", classes)
    name = f"jobs_{request.node.name}"[:60]
    weights = "freeseg://weights/camvid_mask2former_regnetx_002.pth"
    options = ("DATASETS.TEST", (name,), "MODEL.CLASSES", "classes.json", "MODEL.WEIGHTS", weights)
    code, lines = run({**content, **changes}, *options, command="evaluate")
    assert code == 2
    assert message in "\n".join(lines)


def test_a_metric_that_is_not_evaluated_is_one_line(run, content, request):
    name = f"jobs_{request.node.name}"[:60]
    code, (line,) = run(content, "DATASETS.TEST", (name,), "TEST.BEST_METRIC", "segm/best")
    assert code == 2
    assert "TEST.BEST_METRIC is segm/best: no evaluation of" in line


@pytest.mark.parametrize("is_checked", [True, False])
def test_annotation_without_photos_is_one_line(run, content, is_checked):
    empty = {**content, "images": [], "annotations": []}
    code, (line,) = run(empty, "DATASETS.CHECK", is_checked)
    assert code == 2
    assert line.endswith("set.json lists no images")


@pytest.mark.parametrize("is_checked", [True, False])
def test_png_annotation_that_cannot_be_merged_is_one_line(run, tmp_path, is_checked):
    scenes = draw_scenes(tmp_path / "photos", background="bench")
    annotation = panoptic_json(scenes, {**IDS, "bench": 7}, tmp_path / "ids")
    annotation["images"].append({**annotation["images"][0], "id": 99})
    annotation["annotations"].append({**annotation["annotations"][0], "image_id": 99})
    options = ("DATASETS.MERGE_TWINS", True, "DATASETS.CHECK", is_checked)
    code, (line,) = run(annotation, *options, maps="ids")
    assert code == 2
    assert "is listed twice with PNGs" in line


def test_checkpoints_that_cannot_be_resumed_are_one_line(run, content, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "last_checkpoint").write_text("model_0009.pth")
    code, (line,) = run(content, "--resume", "OUTPUT_DIR", "output")
    assert code == 2
    assert "last_checkpoint names output/model_0009.pth, which does not exist" in line

    torch.save({"model": {}}, output / "model_0009.pth")
    cut = (output / "model_0009.pth").read_bytes()[:100]
    (output / "model_0009.pth").write_bytes(cut)
    code, (line,) = run(content, "--resume", "OUTPUT_DIR", "output")
    assert code == 2
    assert "cannot resume: output/model_0009.pth is damaged or cut off" in line

    (output / "classes.json").write_text(json.dumps([{"name": "gear"}]))
    code, (line,) = run(content, "--resume", "OUTPUT_DIR", "output")
    assert code == 2
    assert "cannot resume: the training set lists bolt, nut, washer" in line


def test_weights_that_are_cut_off_are_one_line(run, content, tmp_path, request):
    torch.save({"model": {"a": torch.ones(99)}}, tmp_path / "weights.pth")
    cut = (tmp_path / "weights.pth").read_bytes()[:100]
    (tmp_path / "weights.pth").write_bytes(cut)
    name = f"jobs_{request.node.name}"[:60]
    options = ("DATASETS.TEST", (name,), "MODEL.WEIGHTS", "weights.pth")
    code, (line,) = run(content, *options, command="evaluate")
    assert code == 2
    assert "weights.pth is damaged or cut off" in line


def test_what_fails_in_the_loop_keeps_its_traceback(run, content, monkeypatch):
    def fail(self):
        raise ValueError("a bug")

    monkeypatch.setattr(Trainer, "train", fail)
    with pytest.raises(ValueError, match="a bug"):
        run(content)

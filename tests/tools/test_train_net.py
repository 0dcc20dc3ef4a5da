"""tools/train_net.py as a user calls it: a small Mask2Former on a handful of Shapes images."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from detectron2.engine import default_argument_parser
from freeseg.data.shapes import ShapesSplit, ensure_split
from freeseg.engine import Trainer, load_config, run_job

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "train_net.py"
CONFIG = REPOSITORY / "configs" / "shapes" / "mask2former_tiny.yaml"


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """Overrides that shrink the Shapes job to four images, given as a user's own dataset."""
    folder = tmp_path_factory.mktemp("shapes") / "mini"
    ensure_split(folder, ShapesSplit("mini", num_images=4, seed=5, side=64))
    row = ["mini", str(folder / "panoptic_mini.json"), str(folder / "images")]
    row.append(str(folder / "panoptic_mini"))
    return [
        *("DATASETS.CUSTOM", f"[{row}]", "DATASETS.TRAIN", "('mini',)"),
        *("DATASETS.TEST", "('mini',)", "DATALOADER.NUM_WORKERS", "0"),
        *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "2", "SOLVER.LOG_PERIOD", "1"),
        *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64"),
        *("MODEL.MASK_FORMER.TRAIN_NUM_POINTS", "128", "TEST.VIS_PERIOD", "2"),
    ]


@pytest.mark.slow
def test_trains_evaluates_and_evaluates_again_to_the_same(options, tmp_path):
    trained, evaluated = tmp_path / "trained", tmp_path / "evaluated"
    options = ["--config-file", str(CONFIG), *options]
    subprocess.run(
        [sys.executable, str(TOOL), *options, "OUTPUT_DIR", str(trained)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
        cwd=tmp_path,
    )
    results = json.loads((trained / "results.json").read_text())["mini"]
    assert {"sem_seg", "panoptic_seg", "segm"} <= set(results)
    assert len(list((trained / "pictures").glob("iter_0000001_*.png"))) == 4
    assert all((trained / f"{name}.pth").exists() for name in ("model_final", "model_best"))

    weights = ["MODEL.WEIGHTS", str(trained / "model_final.pth")]
    arguments = ["--eval-only", *options, "OUTPUT_DIR", str(evaluated), *weights]
    run_job(default_argument_parser().parse_args(arguments))
    again = json.loads((evaluated / "results.json").read_text())["mini"]
    for task, values in results.items():
        known = {name: value for name, value in values.items() if value is not None}
        assert {name: again[task][name] for name in known} == pytest.approx(known), task
    assert "panoptic" in (evaluated / "results.md").read_text()


def test_one_evaluation_of_three_tasks_encodes_every_image_once(options, tmp_path, monkeypatch):
    config = REPOSITORY / "configs" / "oneformer" / "shapes" / "oneformer_small.yaml"
    num_encoded = []

    def build_and_watch(cfg, build=Trainer.build_model):
        model = build(cfg)
        model.backbone.register_forward_pre_hook(lambda _, x: num_encoded.append(len(x[0])))
        return model

    monkeypatch.setattr(Trainer, "build_model", build_and_watch)
    arguments = ["--eval-only", "--config-file", str(config), *options]
    sizes = ["MODEL.TEST.OBJECT_MASK_THRESHOLD", "0.0", "OUTPUT_DIR", str(tmp_path)]
    sizes += ["MODEL.WEIGHTS", ""]
    results = run_job(default_argument_parser().parse_args([*arguments, *sizes]))
    assert list(results) == ["sem_seg", "segm", "panoptic_seg"]
    assert sum(num_encoded) == 4, "the images of the set"


def test_help_names_every_flag(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_net.py", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    flags = "--config-file --resume --eval-only --num-gpus --num-machines --machine-rank --dist-url"
    assert all(flag in shown for flag in flags.split())
    assert "train_net.py --config-file FILE.yaml --resume" in shown


def load(*arguments):
    return load_config(default_argument_parser().parse_args([str(item) for item in arguments]))


def test_overrides_win_over_the_file():
    cfg = load("--config-file", CONFIG, "SOLVER.BASE_LR", "0.5", "OUTPUT_DIR", "elsewhere")
    assert (cfg.SOLVER.BASE_LR, cfg.OUTPUT_DIR) == (0.5, "elsewhere")
    assert cfg.MODEL.META_ARCHITECTURE == "Mask2Former"
    assert cfg.is_frozen()


def test_unknown_key_is_refused():
    with pytest.raises(AssertionError, match=r"Non-existent key: SOLVER\.NO_SUCH_KEY"):
        load("--config-file", CONFIG, "SOLVER.NO_SUCH_KEY", "1")


@pytest.mark.parametrize(("has_cuda", "device"), [(False, "cpu"), (True, "cuda")])
def test_cuda_falls_back_to_cpu_where_there_is_none(monkeypatch, has_cuda, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_cuda)
    assert device == load("MODEL.DEVICE", "cuda").MODEL.DEVICE

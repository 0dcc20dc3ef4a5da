"""What a user writes as "~" is the user's folder, also where the shell leaves it alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg import Segmenter
from freeseg.cli import main
from freeseg.engine.job import load_config
from freeseg_command.program import build_parser

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import write_config, write_weights


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A user's folder with a trained model and two photos, in a place of its own."""
    folder = tmp_path / "home"
    (folder / "in").mkdir(parents=True)
    for name in ("A.JPG", "b.jpeg"):
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(folder / "in" / name, "JPEG")
    model = (
        "{META_ARCHITECTURE: StrongestChannel, WEIGHTS: ~/w.pth, SEM_SEG_HEAD: {NUM_CLASSES: 3}}"
    )
    write_weights(folder).rename(folder / "w.pth")
    write_config(folder, MODEL=model, OUTPUT_DIR="~/runs/one").rename(folder / "config.yaml")
    monkeypatch.setenv("HOME", str(folder))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


def test_patterns_options_and_values_of_a_configuration(home: Path) -> None:
    command = ["segment", "~/in/*", "--out=~/out", "--config-file=~/config.yaml"]
    assert main([*command, "--format", "labelmap"]) == 0
    written = {path.name for path in (home / "out").iterdir()}
    assert {"A_panoptic.png", "b_panoptic.png"} < written
    assert list(Path.cwd().iterdir()) == []  # no folder called "~"


def test_every_argument_of_every_kind(home: Path) -> None:
    given = ["segment", "~/a.jpg", "b.jpg", "--opts", "MODEL.WEIGHTS", "~/w.pth", "A", "~no one"]
    args = build_parser().parse_args(given)
    assert args.photos == [f"{home}/a.jpg", "b.jpg"]
    assert args.opts == ["MODEL.WEIGHTS", f"{home}/w.pth", "A", "~no one"]


def test_a_training_job_s_configuration(home: Path) -> None:
    given = argparse.Namespace(config_file="~/config.yaml", opts=[], eval_only=True)
    cfg = load_config(given)
    assert (home / "runs/one", home / "w.pth") == (Path(cfg.OUTPUT_DIR), Path(cfg.MODEL.WEIGHTS))


def test_a_model_in_python(home: Path) -> None:
    (home / "w.pth").rename(home / "model_final.pth")
    photo = np.full((20, 30, 3), 90, np.uint8)
    for given in ("~", "~/model_final.pth"):
        result = Segmenter.from_pretrained(given, opts=["MODEL.WEIGHTS", "~/model_final.pth"])(
            photo
        )
        assert result.names == ("green field",)

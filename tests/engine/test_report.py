"""What a job leaves for people and programs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.engine.report import report_results, write_config
from freeseg.files import WriteError

NAN, INFINITY = float("nan"), float("inf")
RESULTS = {"sem_seg": {"mIoU": 12.5, "IoU-x": NAN}, "panoptic_seg": {"PQ": 3, "RQ": INFINITY}}
STORED = {"sem_seg": {"mIoU": 12.5, "IoU-x": None}, "panoptic_seg": {"PQ": 3.0, "RQ": None}}


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.OUTPUT_DIR, cfg.DATASETS.TEST = str(tmp_path / "deep/out"), ("first",)
    return cfg


def test_results_of_one_set_stand_under_its_name(cfg, caplog):
    with caplog.at_level(logging.INFO, "freeseg"):
        report_results(cfg, RESULTS, weights="of a test")
    folder = Path(cfg.OUTPUT_DIR)
    text = (folder / "results.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"first": STORED, "weights": "of a test"}
    assert list(json.loads(text))[-1] == "weights"
    assert text == json.dumps({"first": STORED, "weights": "of a test"}, indent=2) + "\n"
    table, weights = (folder / "results.md").read_text().split("\n\n", 1)
    assert weights == "Weights: of a test\n"
    assert "first" in table
    assert "12.5" in table
    [line] = caplog.messages
    assert line == f"Results of of a test, also in {folder / 'results.md'}:\n{table}"
    assert {path.name for path in folder.iterdir()} == {"results.json", "results.md"}


def test_results_of_several_sets_are_by_name_already(cfg):
    cfg.DATASETS.TEST = ("first", "second")
    report_results(cfg, {"first": RESULTS, "second": {"sem_seg": {"mIoU": 1}}}, weights="w")
    stored = json.loads(Path(cfg.OUTPUT_DIR, "results.json").read_text())
    assert stored == {"first": STORED, "second": {"sem_seg": {"mIoU": 1.0}}, "weights": "w"}


def test_a_report_that_fails_leaves_the_old_one(cfg, monkeypatch):
    report_results(cfg, RESULTS, weights="old")
    folder = Path(cfg.OUTPUT_DIR)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(WriteError, match=r"results\.md cannot be written: No space"):
        report_results(cfg, RESULTS, weights="new")
    monkeypatch.setattr(Path, "replace", replace)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_configuration_is_written_whole(cfg):
    for value in (0.25, 0.5):  # also into a folder that is there
        cfg.SOLVER.BASE_LR = value
        write_config(cfg)
        text = Path(cfg.OUTPUT_DIR, "config.yaml").read_text()
        assert text == cfg.dump()
        assert f"\n  BASE_LR: {value}\n" in text

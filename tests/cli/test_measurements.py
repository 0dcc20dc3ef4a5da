"""The JSON of the commands that measure: null where there is no figure."""

from __future__ import annotations

import json

import pytest

from freeseg.cli import main
from freeseg.engine.few_shot import FewShotJob

CONFIG = "freeseg://configs/shapes/mask2former_tiny.yaml"
NAN = float("nan")


def test_a_class_without_an_episode_is_null(tmp_path, monkeypatch):
    found = {"0": {"mIoU": 62.5, "FB-IoU": 70.0, "IoU-cat": NAN}}
    monkeypatch.setattr(FewShotJob, "run", lambda *_: found)
    file = tmp_path / "found.json"
    options = ["--benchmark", "fss_1000", "--root", str(tmp_path), "--output", str(file)]
    assert main(["evaluate-few-shot", "--config-file", CONFIG, *options]) == 0
    content = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert content == {"0": {"mIoU": 62.5, "FB-IoU": 70.0, "IoU-cat": None}}

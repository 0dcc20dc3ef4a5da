"""`freeseg segment` says what a model knows, and of which photos it is unsure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from freeseg.cli import main

STREET = Path(__file__).parents[2] / "freeseg/web/examples/cyclists.jpg"
UNSURE = "(unsure: unlike the photos it learned from)"


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    picture = Image.new("RGB", (480, 360), (40, 90, 200))
    ImageDraw.Draw(picture).ellipse((120, 60, 360, 300), (240, 130, 20))
    path = tmp_path / "drawing.png"
    picture.save(path)
    return path


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic", "all"])
def test_a_street_is_known_and_a_drawing_is_not(drawing: Path, task: str, capsys) -> None:
    arguments = ["segment", str(STREET), str(drawing), "--model", "camvid-mask2former"]
    arguments += ["--task", task, "--out", str(drawing.parent), "--format", "rle"]
    assert main(arguments) == 0
    first, street, drawn, _ = capsys.readouterr().out.splitlines()
    assert first == "camvid-mask2former knows street scenes"
    assert UNSURE not in street
    assert UNSURE in drawn
    assert main([*arguments, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [one["unsure"] for one in results] == [False, True]
    assert [one["knows"] for one in results] == ["street scenes"] * 2
    assert 0 < results[1]["certainty"] < 0.832 < results[0]["certainty"] < 1


def test_nobody_is_unsure_where_the_threshold_is_taken_away(drawing: Path, capsys) -> None:
    arguments = ["segment", str(drawing), "--model", "camvid-mask2former", "--json"]
    arguments += ["--out", str(drawing.parent), "--format", "rle"]
    assert main([*arguments, "--opts", "TEST.UNSURE_BELOW", "0.0"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["unsure"], result["certainty"]) == (False, None)

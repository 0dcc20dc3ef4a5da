"""`freeseg segment` says what a model knows, and of which photos it is unsure."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from freeseg.cli import main
from freeseg.zoo import load_catalog

STREET = Path(__file__).parents[2] / "freeseg/web/examples/cyclists.jpg"
UNSURE = "(unsure: unlike the photos it learned from)"


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    picture = Image.new("RGB", (480, 360), (40, 90, 200))
    ImageDraw.Draw(picture).ellipse((120, 60, 360, 300), (240, 130, 20))
    path = tmp_path / "drawing.png"
    picture.save(path)
    return path


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("camvid-mask2former", "panoptic"),
        ("camvid-mask2former", "instance"),
        ("camvid-mask2former", "semantic"),
        ("camvid-mask2former", "all"),
        ("camvid-lseg", "semantic"),
        ("camvid", "panoptic"),
    ],
)
def test_a_street_is_known_and_a_drawing_is_not(drawing, model, task, capsys) -> None:
    arguments = ["segment", str(STREET), str(drawing), "--model", model]
    arguments += ["--task", task, "--out", str(drawing.parent), "--format", "rle"]
    assert main(arguments) == 0
    first, street, drawn, _ = capsys.readouterr().out.splitlines()
    assert first == f"{model} knows street scenes"
    assert UNSURE not in street
    assert UNSURE in drawn
    assert main([*arguments, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert [one["unsure"] for one in results] == [False, True]
    assert [one["knows"] for one in results] == ["street scenes"] * 2
    limit = load_catalog()[model].unsure_below
    assert 0 <= results[1]["certainty"] < limit < results[0]["certainty"] < 1


def test_of_a_video_the_unsure_frames_are_counted(drawing: Path, capsys) -> None:
    frames = [Image.open(STREET).convert("RGB").resize((480, 360))] * 2
    frames += [Image.open(drawing).convert("RGB")] * 3
    video = drawing.parent / "drive.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 5, (480, 360))
    for frame in frames:
        writer.write(np.asarray(frame)[..., ::-1])
    writer.release()
    arguments = ["segment", str(video), "--model", "camvid-mask2former"]
    arguments += ["--out", str(drawing.parent / "out")]
    assert main(arguments) == 0
    assert "5 frames (3 of them unsure: unlike the photos" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)["results"]
    assert (entry["frames"], entry["unsure_frames"]) == (5, 3)
    assert entry["knows"] == "street scenes"
    assert main([*arguments, "--opts", "TEST.UNSURE_BELOW", "0.0"]) == 0
    assert "5 frames: " in capsys.readouterr().out


def test_nobody_is_unsure_where_the_threshold_is_taken_away(drawing: Path, capsys) -> None:
    arguments = ["segment", str(drawing), "--model", "camvid-mask2former", "--json"]
    arguments += ["--out", str(drawing.parent), "--format", "rle"]
    assert main([*arguments, "--opts", "TEST.UNSURE_BELOW", "0.0"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["unsure"], result["certainty"]) == (False, None)

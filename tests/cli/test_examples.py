"""Examples on the command line: `segment --example`, `track`, `tune-prompt`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from freeseg.cli import main
from freeseg.data.examples import load_example
from freeseg.segmenter import Segmenter

sys.path.insert(0, str(Path(__file__).parents[1]))
from seggpt_files import kite, photo, write_model, write_picture, write_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos 0 to 3 in frames/, masks m0.png (a kite in white) and m1.png (numbers 1 and 2)."""
    folder = tmp_path_factory.mktemp("examples")
    for number in range(4):
        write_picture(folder / "frames" / f"{number}.png", photo(number))
    write_picture(folder / "m0.png", kite(0).astype(np.uint8) * 255)
    write_picture(folder / "m1.png", 2 - kite(1).astype(np.uint8))
    write_picture(folder / "m5.png", kite(1).astype(np.uint8) * 5)
    return folder


@pytest.fixture(scope="module")
def model(folder) -> list[str]:
    return write_model(folder)


@pytest.fixture(scope="module")
def segmenter(model) -> Segmenter:
    return Segmenter.from_config(model[1], model[3])


def test_objects_are_those_that_a_session_finds(folder, model, segmenter, tmp_path, capsys):
    shown = f"{folder / 'frames' / '1.png'}:{folder / 'm1.png'}"
    asked = folder / "frames" / "3.png"
    line = ["segment", str(asked), *model, "--example", shown, "--names", "kite, sky"]
    assert main([*line, "--min-score", "0", "--out", str(tmp_path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["task"] == "object"
    found = summary["results"][0]["found"]["object"]
    assert {entry["name"] for entry in found} == {"kite", "sky"}
    rows = json.loads((tmp_path / "3_objects.json").read_text())
    example = (photo(1), {"kite": kite(1), "sky": ~kite(1)})
    expected = segmenter.open(photo(3))(examples=example).objects
    assert len(rows) == 2
    for row, mask in zip(rows, expected.masks):
        assert np.array_equal(rle_codec.decode(row["segmentation"]).astype(bool), mask)
    assert (tmp_path / "3_object_overlay.png").is_file()


def test_several_examples_and_a_folder_of_photos(folder, model, tmp_path, capsys):
    shown = [
        f"{folder / 'frames' / f'{number}.png'}:{folder / f'm{number}.png'}" for number in (0, 1)
    ]
    options = [part for text in shown for part in ("--example", text)]
    assert main(["segment", str(folder / "frames"), *model, *options, "--out", str(tmp_path)]) == 0
    assert "4 photos segmented" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*_objects.json"))) == 4


def test_a_prompt_is_tuned_saved_and_shown(folder, model, tmp_path, capsys):
    row, key = write_set(tmp_path, "kites_of_the_command"), tmp_path / "key.safetensors"
    line = ["tune-prompt", *model, "--dataset", row[0], "--output", str(key), "--steps", "3"]
    more = ["--queries", "2", "--json", "--opts", "DATASETS.CUSTOM", repr([row])]
    assert main([*line, *more]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["classes"], summary["steps"]) == (["kite", "sky"], 3)
    assert summary["loss_before"] > 0
    assert load_example(key).vocabulary.names == ("kite", "sky")
    out = tmp_path / "out"
    line = ["segment", str(folder / "frames" / "2.png"), *model, "--example", str(key)]
    assert main([*line, "--out", str(out)]) == 0
    assert len(json.loads((out / "2_objects.json").read_text())) == 2


def test_frames_are_tracked_as_the_segmenter_does_it(folder, model, segmenter, tmp_path, capsys):
    line = ["track", str(folder / "frames"), *model, "--output", str(tmp_path), "--json"]
    masks = ["--mask", str(folder / "m0.png"), "--mask", f"2:{folder / 'm5.png'}"]
    assert main([*line, *masks, "--memory", "1", "--min-score", "0.1"]) == 0
    summary = json.loads(capsys.readouterr().out)
    given = {0: folder / "m0.png", 2: folder / "m5.png"}
    expected = list(segmenter.track(folder / "frames", given, memory=1, min_score=0.1))
    assert summary["frames"] == len(expected) == 4
    for number, tracked in enumerate(expected):
        stored = np.asarray(Image.open(tmp_path / f"{number}.png"))
        assert np.array_equal(stored, tracked.labels)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "0.png")) == 1, kite(0))
    assert [each["id"] for each in summary["objects"]] == [1, 5]
    for each in summary["objects"]:
        seen = sum((tracked.labels == each["id"]).any() for tracked in expected)
        assert each["frames"] == seen
    assert set(summary["files"]) == {"png", "coco", "overlay"}
    assert (tmp_path / "overlay.mp4").stat().st_size > 0
    assert len(json.loads((tmp_path / "tracks.json").read_text())["images"]) == 4


def test_a_video_is_tracked_by_an_example(folder, model, tmp_path, capsys):
    line = ["track", str(folder / "frames"), *model, "--mask", str(folder / "m0.png")]
    assert main([*line, "--format", "overlay", "--output", str(tmp_path)]) == 0
    shown = f"{folder / 'frames' / '0.png'}:{folder / 'm0.png'}"
    line = ["track", str(tmp_path / "overlay.mp4"), *model, "--example", shown, "--every", "2"]
    assert main([*line, "--format", "png", "--output", str(tmp_path / "again")]) == 0
    assert "2 frames followed" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "00000.png",
        "00001.png",
    ]


REFUSED = {
    "segment: no mask": (["segment", "P", "--example", "alone.jpg"], "wanted PHOTO:MASK or a file"),
    "segment: no file": (["segment", "P", "--example", "no.safetensors"], "does not exist"),
    "segment: no photo": (["segment", "P", "--example", "no.jpg:M"], "no.jpg: no such file"),
    "segment: task": (["segment", "P", "--example", "P:M", "--task", "all"], "without --task"),
    "segment: text": (["segment", "P", "--example", "P:M", "--text", "cat"], "without --text"),
    "segment: nothing": (["segment", "P"], "SegGPT follows examples: show some by --example"),
    "segment: names": (["segment", "P", "--names", "cat"], "and there is none"),
    "segment: few names": (
        ["segment", "P", "--example", "P:N", "--names", "cat"],
        "--names has 1, and N shows the number 2",
    ),
    "segment: empty name": (["segment", "P", "--example", "P:M", "--names", "a,,b"], "--names: "),
    "track: nothing": (["track", "F", "--output", "O"], "by --mask PNG or --example PHOTO:MASK"),
    "track: no mask": (
        ["track", "F", "--mask", "no.png", "--output", "O"],
        "no.png does not exist",
    ),
    "track: two masks": (
        ["track", "F", "--mask", "M", "--mask", "0:N", "--output", "O"],
        "are both of frame 0",
    ),
    "track: no source": (["track", "no.mp4", "--mask", "M", "--output", "O"], "no such file"),
    "track: in place": (["track", "F", "--mask", "M", "--output", "F"], "would be replaced"),
    "track: too late": (
        ["track", "F", "--mask", "M", "--mask", "9:M", "--output", "O"],
        "no frame 9",
    ),
    "track: format": (
        ["track", "F", "--mask", "M", "--output", "O", "--format", "gif"],
        "png,coco",
    ),
    "tune-prompt: file": (["tune-prompt", "--dataset", "x", "--output", "k.pth"], "*.safetensors"),
    "tune-prompt: set": (["tune-prompt", "--dataset", "x", "--output", "k.safetensors"], "'x'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_one_line(case, folder, model, tmp_path, capsys):
    places = {"P": folder / "frames" / "0.png", "M": folder / "m0.png", "N": folder / "m1.png"}
    places |= {"F": folder / "frames", "O": tmp_path / "out"}
    arguments, said = REFUSED[case]
    filled = [":".join(str(places.get(x, x)) for x in text.split(":")) for text in arguments]
    out = ["--out", str(tmp_path)] if case.startswith("segment") else []
    assert main([*filled, *model, *out]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said.replace("N ", f"{places['N']} ") in lines[-1]
    assert not [line for line in lines if line.startswith("Traceback")]


@pytest.mark.parametrize("command", ["segment", "track", "tune-prompt"])
def test_models_that_follow_no_examples_are_refused_by_name(
    command, folder, arguments, tmp_path, capsys
):
    source, mask = folder / "frames" / "0.png", folder / "m0.png"
    line = {
        "segment": ["segment", str(source), *arguments, "--example", f"{source}:{mask}"],
        "track": ["track", str(source.parent), *arguments[:4], "--mask", str(mask)],
        "tune-prompt": ["tune-prompt", *arguments[:4], "--dataset", "shapes_val_panoptic"],
    }[command]
    if command != "segment":
        line += ["--output", str(tmp_path / "key.safetensors")]
    assert main(line) == 2
    assert "StrongestChannel" in capsys.readouterr().err

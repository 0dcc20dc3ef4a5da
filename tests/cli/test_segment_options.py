"""Every option of `freeseg segment` and every parameter of the page reaches the result."""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import json
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from freeseg import Segmenter
from freeseg.cli import main
from freeseg_command.program import build_parser

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import write_config, write_weights

PHOTO, VIDEO, OPEN = "photo", "video", "open"
# By option: what it is tried on, and two ways to give it. "{...}" stand for files of the test.
TRIED = {
    "photos": (PHOTO, ["{photo}"], ["{other}"]),
    "--model": (PHOTO, ["--model", "{folder}"], ["--model", "{dimmer}"]),
    "--config-file": (PHOTO, [], ["--config-file", "{dimmer}/config.yaml"]),
    "--weights": (PHOTO, [], ["--weights", "{dimmer}/model_final.pth"]),
    "--device": (PHOTO, ["--device", "cpu"], ["--device", "none"]),
    "--opts": (PHOTO, [], ["--opts", "MODEL.WEIGHTS", "{dimmer}/model_final.pth"]),
    "--task": (PHOTO, ["--task", "panoptic"], ["--task", "semantic"]),
    "--text": (OPEN, ["--text", "pond, gate, lawn"], ["--text", "pond, hill, lawn"]),
    "--out": (PHOTO, [], ["--out", "{out}/deeper"]),
    "--format": (PHOTO, ["--format", "labelmap"], ["--format", "coco"]),
    "--min-score": (PHOTO, ["--task", "instance"], ["--task", "instance", "--min-score", "0.2"]),
    "--every": (VIDEO, [], ["--every", "2"]),
    "--json": (PHOTO, [], ["--json"]),
}
# Of a video, what other code does.
TRIED_ON_VIDEOS = {
    "--task": (["--task", "panoptic"], ["--task", "instance"]),
    "--format": (["--format", "labelmap"], ["--format", "coco"]),
    "--min-score": (["--task", "instance"], ["--task", "instance", "--min-score", "0.2"]),
    "--out": ([], ["--out", "{out}/deeper"]),
    "--json": ([], ["--json"]),
    "--every": (["--every", "2"], ["--every", "3"]),
}


def picture(blue_part: int) -> np.ndarray:
    pixels = np.full((20, 30, 3), 10, dtype=np.uint8)
    pixels[:, :9, 0] = pixels[:, 9:blue_part, 1] = pixels[:, blue_part:, 2] = 200
    return pixels


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Two photos, a video, a model twice with unlike weights, and one that takes class lists."""
    names = ("photo.png", "other.png", "video.avi", "folder", "dimmer", "open", "out")
    paths = {Path(name).stem: tmp_path / name for name in names}
    Image.fromarray(picture(20)).save(paths["photo"])
    Image.fromarray(picture(25)).save(paths["other"])
    video = cv2.VideoWriter(str(paths["video"]), cv2.VideoWriter_fourcc(*"MJPG"), 5, (60, 40))
    for step in range(6):
        pixels = np.kron(picture(20 + step), np.ones((2, 2, 1), np.uint8))
        video.write(np.ascontiguousarray(pixels[..., ::-1]))
    video.release()
    closed, takes_lists = "StrongestChannel", "EchoedVocabulary"
    dim, even = (1.0, 1.0, 0.01), (1.0, 1.0, 1.0)
    models = {"folder": (closed, even), "dimmer": (closed, dim), "open": (takes_lists, even)}
    for name, (kind, gain) in models.items():
        paths[name].mkdir()
        weights = write_weights(paths[name], gain).rename(paths[name] / "model_final.pth")
        head = "SEM_SEG_HEAD: {NUM_CLASSES: 3}"
        model = f"{{META_ARCHITECTURE: {kind}, WEIGHTS: {weights}, {head}}}"
        write_config(paths[name], MODEL=model).rename(paths[name] / "config.yaml")
    return paths


def outcome(words: list[str], files: dict[str, Path], kind: str, capsys) -> tuple:
    """Exit code, what was said, and what was written by name."""
    words = [word.format(**files) for word in words]
    if words[:1] not in ([str(files["photo"])], [str(files["other"])]):
        words = [str(files["video" if kind == VIDEO else "photo"]), *words]
    if not {"--model", "--config-file"} & set(words):
        folder = files["open" if kind == OPEN else "folder"]
        words += ["--config-file", str(folder / "config.yaml")]
    if "--out" not in words:
        words += ["--out", str(files["out"])]
    code = main(["segment", *words])
    said = capsys.readouterr()
    written = {}
    for path in sorted(files["out"].rglob("*")):
        if path.is_file():
            written[str(path.relative_to(files["out"]))] = hashlib.sha1(path.read_bytes()).digest()
            path.unlink()
    return code, said, written


def test_every_option_of_segment_is_tried() -> None:
    parser = build_parser()._subparsers._group_actions[0].choices["segment"]
    parser.complete()
    options = {next(iter(action.option_strings), action.dest) for action in parser._actions}
    of_examples = {"--example", "--names"}  # tried in test_examples.py
    assert options - {"-h"} - of_examples == set(TRIED)


@pytest.mark.parametrize("option", TRIED)
def test_an_option_of_segment_reaches_what_it_says_or_writes(option, files, capsys) -> None:
    kind, one, other = TRIED[option]
    first, second = (outcome(words, files, kind, capsys) for words in (one, other))
    assert first[0] == 0, first[1].err
    assert first != second
    if option not in ("--json", "--device"):
        assert first[2] != second[2]


@pytest.mark.parametrize("option", TRIED_ON_VIDEOS)
def test_an_option_of_segment_reaches_a_video(option, files, capsys) -> None:
    first, second = (outcome(words, files, VIDEO, capsys) for words in TRIED_ON_VIDEOS[option])
    assert (first[0], second[0]) == (0, 0)
    assert first != second
    if option != "--json":
        assert first[2] != second[2]


def test_a_video_s_list_counts_from_the_least_score_on(files, capsys) -> None:
    """Of its two instances, of one class, one has 0.875 and one 0.25."""
    words = [str(files["video"]), "--model", str(files["folder"]), "--out", str(files["out"])]
    for score, found in (("0.875", {"red ball": 6}), ("0.9", {})):
        command = ["segment", *words, "--task", "instance", "--json", "--min-score", score]
        assert main(command) == 0
        [entry] = json.loads(capsys.readouterr().out)["results"]
        assert entry["found"] == found


def test_every_parameter_of_the_page_s_request_is_tried_and_reaches_the_answer(files) -> None:
    testclient = pytest.importorskip("fastapi.testclient", reason="needs fastapi and httpx")
    from freeseg.web import create_app

    app = create_app(
        {name: Segmenter.from_pretrained(str(files[name])) for name in ("open", "dimmer")}
    )
    [route] = [route for route in app.routes if getattr(route, "path", "") == "/api/segment"]
    base = {"model": "open", "task": "instance", "text": "", "score": 0.5, "name": "a.png"}
    tried = {
        "model": {"model": "dimmer"},
        "task": {"task": "panoptic"},
        "text": {"text": "pond, gate, lawn"},
        "score": {"score": 0.2},
        "name": {"name": "b.png"},
    }
    assert set(inspect.signature(route.endpoint).parameters) - {"request"} == set(tried)
    buffer = io.BytesIO()
    Image.fromarray(picture(20)).save(buffer, "PNG")
    with testclient.TestClient(app) as client:

        def answer(**more):
            sent = {"params": {**base, **more}, "content": buffer.getvalue()}
            got = client.post(
                "/api/segment", headers={"content-type": "application/octet-stream"}, **sent
            )
            assert got.status_code == 200, got.text
            found = got.json()
            packed = base64.b64decode(found["archive"].partition("base64,")[2])
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:  # its files have times
                found["archive"] = {name: archive.read(name) for name in archive.namelist()}
            return found

        first = answer()
        assert answer() == first
        for name, more in tried.items():
            assert answer(**more) != first, name


def test_photos_are_numbered_and_a_video_s_line_says_what_was_found(files, capsys) -> None:
    model = ["--model", str(files["folder"]), "--out", str(files["out"])]
    photos = [str(files["photo"]), str(files["other"])]
    assert main(["segment", *photos, *model, "--format", "coco", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["results"]
    assert [entry["image_id"] for entry in entries] == [1, 2]
    for entry in entries:
        content = json.loads(Path(entry["files"]["panoptic_json"]).read_text())
        assert [row["image_id"] for row in content["annotations"]] == [entry["image_id"]]
        assert [row["id"] for row in content["images"]] == [entry["image_id"]]
    for task, found in (("panoptic", "green field, red ball, blue sky"), ("instance", "red ball")):
        assert main(["segment", str(files["video"]), *model, "--task", task]) == 0
        line = capsys.readouterr().out.splitlines()[-2]
        assert line.startswith(f"{files['video']}: 6 frames: ")
        names = line.split(": ", 2)[2].split(" -> ")[0]
        assert sorted(names.split(", ")) == sorted(found.split(", "))

"""A worker makes one record for every photo, and a model as its settings say."""

from __future__ import annotations

import json
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from freeseg.bulk import worker as worker_module
from freeseg.bulk.manifest import Manifest
from freeseg.bulk.parts import part_path, read_part
from freeseg.bulk.photos import Photo
from freeseg.bulk.records import AllFound
from freeseg.bulk.worker import ModelSettings, Worker, settings_text
from freeseg.images import ImageError
from freeseg.segmenter import Segmenter
from freeseg.structures import Vocabulary
from freeseg.visualization import Segmentation


class Kept(AllFound):
    """Has a setting of its own."""

    def settings(self):
        return {"kept": 1}


def test_settings_name_all_that_decides_the_output():
    model = ModelSettings("camvid", "c.yaml", "w.pth", "cpu", ("A", "1"), "all", "x, y", ("json",))
    assert json.loads(settings_text(model, "jsonl", ("a", "b"))) == {
        "format": "jsonl",
        "sources": ["a", "b"],
        "model": {
            **{"model": "camvid", "config": "c.yaml", "weights": "w.pth", "device": "cpu"},
            **{"opts": ["A", "1"], "task": "all", "classes": "x, y", "modules": ["json"]},
        },
    }
    text = settings_text(model, "jsonl", ("a", "b"))
    assert json.loads(settings_text(replace(model, records=Kept()), "jsonl", ("a",)))["kept"] == 1
    fields = [name for name in vars(model) if name != "records"]
    other = {field: f"other {field}" for field in fields} | {"opts": (), "modules": ()}
    texts = {
        settings_text(replace(model, **{name: other[name]}), "jsonl", ("a", "b")) for name in other
    }
    texts |= {
        settings_text(model, "webdataset", ("a", "b")),
        settings_text(model, "jsonl", ("b", "a")),
    }
    assert len(texts | {text}) == len(other) + 3
    assert settings_text(replace(model), "jsonl", ["a", "b"]) == text
    # compared letter by letter with what an earlier version has written
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"
    assert text.startswith('{\n "format": "jsonl",\n "model": {\n  "classes": "x, y",\n')


OPTS, OWN = ("A", "1"), ("MODEL.WEIGHTS", "w.pth")
BUILDS = {
    "a named one": ({"model": "camvid"}, ("camvid", "cpu", OPTS)),
    "a named one with weights": (
        {"model": "camvid", "weights": "w.pth"},
        ("camvid", "cpu", OPTS + OWN),
    ),
    "a configuration": ({"config": "c.yaml"}, ("c.yaml", None, "cpu", OPTS)),
    "a configuration with weights": (
        {"config": "c.yaml", "weights": "w.pth"},
        ("c.yaml", "w.pth", "cpu", OPTS),
    ),
}


@pytest.mark.parametrize(("fields", "expected"), BUILDS.values(), ids=BUILDS)
def test_a_model_is_built_from_its_settings(monkeypatch, tmp_path, fields, expected):
    (tmp_path / "a_plugin_of_the_test.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = []

    def build(*arguments):
        assert "a_plugin_of_the_test" in sys.modules, "imported first"
        asked.append(arguments)

    monkeypatch.setattr(Segmenter, "from_config", build)
    monkeypatch.setattr(Segmenter, "from_pretrained", build)
    ModelSettings(device="cpu", opts=OPTS, modules=("a_plugin_of_the_test",), **fields).build()
    assert asked == [expected]
    del sys.modules["a_plugin_of_the_test"]


class Given:
    """Segments photos as a table says, and remembers what it was asked."""

    def __init__(self, table):
        self.table, self.asked, self.vocabulary = table, [], None

    def __call__(self, source, task):
        self.asked.append((source, task, self.vocabulary))
        outcome = self.table[source]
        if isinstance(outcome, BaseException):
            raise outcome
        height, width = outcome
        return Segmentation(
            np.zeros((height, width, 3), np.uint8), Vocabulary(("a",), (False,)), (5,)
        )


@pytest.fixture
def ready(monkeypatch, tmp_path):
    """Makes a worker whose segmenter does what a table says; its names are piece 3."""

    def make(table, form="jsonl", task="panoptic", classes=None):
        names = [f"{tmp_path}/{name}" for name in table]
        for name in names:
            if not name.endswith("gone.png"):
                (tmp_path / name).write_bytes(b"of " + name.encode())
        Manifest(tmp_path).write([*["x"] * 3 * len(names), *names], len(names))
        (tmp_path / "parts").mkdir()
        segmenter = Given(dict(zip(names, table.values())))
        monkeypatch.setattr(ModelSettings, "build", lambda self: segmenter)
        return Worker(ModelSettings(task=task, classes=classes), str(tmp_path), form), segmenter

    return make


FAULTS = {
    "broken.png": (ImageError("another name", "is cut"), "is cut"),
    "large.png": (MemoryError("9 GB are wanted"), "9 GB are wanted"),
    "without words.png": (MemoryError(), "MemoryError"),
    "locked.png": (PermissionError(13, "Permission denied"), "[Errno 13] Permission denied"),
}


def test_every_photo_has_a_record_under_its_own_number(ready, tmp_path):
    outcomes = {"a.png": (3, 5), **{name: fault for name, (fault, _) in FAULTS.items()}}
    worker, segmenter = ready({**outcomes, "b.jpg": (7, 2)}, task="all", classes="x, y")
    assert worker.run(3) == 6
    names = [f"{tmp_path}/{name}" for name in (*outcomes, "b.jpg")]
    assert segmenter.asked == [(name, "all", "x, y") for name in names]

    def row(name, number, height, width):
        image = {"id": f"00000003-{number:06d}", "file_name": name, "height": height}
        return {"photo": f"{tmp_path}/{name}", "image": {**image, "width": width}}

    def failed(name):
        path = f"{tmp_path}/{name}"
        return {"photo": path, "error": f"{path}: {FAULTS[name][1]}"}

    assert list(read_part(part_path(tmp_path / "parts", 3, "jsonl"))) == [
        row("a.png", 1, 3, 5),
        *map(failed, FAULTS),
        row("b.jpg", 6, 7, 2),
    ]


def test_shards_get_the_photos_and_one_that_is_gone_is_an_error(ready, tmp_path):
    worker, segmenter = ready({"a.png": (3, 5), "gone.png": (3, 5)}, form="webdataset")
    assert worker.run(3) == 2
    assert [asked[1:] for asked in segmenter.asked] == [("panoptic", None)] * 2
    with tarfile.open(part_path(tmp_path / "parts", 3, "webdataset")) as archive:
        content = {one.name: archive.extractfile(one).read() for one in archive}
    assert list(content) == ["00000003-000001.json", "00000003-000001.png", "00000003-000002.json"]
    assert content["00000003-000001.png"] == f"of {tmp_path}/a.png".encode()
    path = f"{tmp_path}/gone.png"
    error = {"photo": path, "error": f"{path}: [Errno 2] No such file or directory: '{path}'"}
    assert json.loads(content["00000003-000002.json"]) == error


def test_lines_do_not_hold_the_photos(ready, tmp_path):
    worker, _ = ready({"gone.png": (3, 5)})
    worker.run(3)  # which are not read again
    assert "error" not in next(read_part(part_path(tmp_path / "parts", 3, "jsonl")))


@pytest.mark.parametrize("fault", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_what_no_photo_explains_ends_the_piece_and_leaves_the_old_part(ready, tmp_path, fault):
    worker, _ = ready({"a.png": (3, 5), "b.png": fault})
    path = part_path(tmp_path / "parts", 3, "jsonl")
    path.write_text("old")
    with pytest.raises(type(fault)):
        worker.run(3)
    assert [one.read_text() for one in path.parent.iterdir()] == ["old"]


def test_an_empty_shard_is_a_part_without_records(ready, monkeypatch, tmp_path):
    worker, _ = ready({"a.png": (3, 5)})
    monkeypatch.setattr(worker_module, "photos_of", lambda names: iter(()))
    assert worker.run(3) == 0
    assert list(read_part(part_path(tmp_path / "parts", 3, "jsonl"))) == []
    monkeypatch.setattr(worker_module, "photos_of", lambda _: [Photo("s.tar", None, "s.tar: cut")])
    assert worker.run(3) == 1
    [record] = read_part(part_path(tmp_path / "parts", 3, "jsonl"))
    assert record == {"photo": "s.tar", "error": "s.tar: cut"}

"""What is written has its name only when it is complete: every writer, on a disk that is full."""

from __future__ import annotations

import ast
import itertools
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detectron2.config import CfgNode
from freeseg.bulk.manifest import Manifest
from freeseg.bulk.parts import PartWriter
from freeseg.bulk.report import write_report
from freeseg.checkpoints import write_checkpoint
from freeseg.data.coco_writer import CocoWriter, write_json, write_png
from freeseg.data.prepare.job import copy_if_changed
from freeseg.data.shapes.generate import _write_jpeg
from freeseg.engine import AtomicCheckpointer
from freeseg.engine.ablation import Study
from freeseg.engine.report import report_results
from freeseg.export.programs import write_onnx
from freeseg.files import remove_partials, replacing, write_atomically, write_text
from freeseg.text.cache import TextFeatureCache, TextKey
from freeseg.visualization import FORMATS
from freeseg.zoo.download import download
from freeseg.zoo.packing import pack_model

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE / "visualization"), str(HERE / "zoo")]
from file_server import running  # noqa: E402
from fixed_model import write_config, write_weights  # noqa: E402
from full_disk import contents, full_disk  # noqa: E402
from sample import sample_result  # noqa: E402

MODEL = nn.Linear(100, 100)
STATE = {"weight": torch.ones(100, 100)}
NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)

Write = Callable[[], object]


def bulk_part(suffix: str) -> Callable[[Path], Write]:
    def write(folder: Path) -> None:
        writer = PartWriter(folder / f"part.{suffix}")
        try:
            writer.write("key", {"photo": "x" * 100_000})
        except OSError:
            writer.abandon()
            raise
        writer.close()

    return lambda folder: lambda: write(folder)


def bulk_report(folder: Path) -> Write:
    piece = folder.parent / "piece.jsonl"
    piece.write_text(json.dumps({"photo": "a", "error": "b" * 500}) + "\n")
    return lambda: write_report(folder, [piece], [], 1, 1.0)


def dataset(folder: Path) -> Write:
    writer = CocoWriter(folder, "train", [{"id": 1, "name": "ball", "isthing": 1}], {})
    ids = np.ones((64, 64), dtype=np.int64)
    segment = {"id": 1, "category_id": 1, "iscrowd": 0}
    writer.add("photo.jpg", ids, [segment], NOISE[:, :, 0])
    return writer.save


def dataset_picture(folder: Path) -> Write:
    writer = CocoWriter(folder, "train", [{"id": 1, "name": "ball", "isthing": 1}], {})
    return lambda: writer.add("photo.jpg", np.zeros((64, 64), np.int64), [], NOISE[:, :, 0])


def text_features(folder: Path) -> Write:
    numbers = itertools.count()  # another key each time

    def write() -> None:
        cache = TextFeatureCache(folder)
        key = TextKey("encoder", "prompts", str(next(numbers)), ("a", "b"))
        cache.get(key, lambda: torch.ones(2, 100))
        if cache.folder is None:  # it has warned, and goes on without files
            raise OSError("cannot be written")

    return write


def table_of_results(folder: Path) -> Write:
    cfg = CfgNode({"OUTPUT_DIR": str(folder), "DATASETS": {"TEST": ["some_val"]}})
    return lambda: report_results(cfg, {"sem_seg": {"mIoU": 12.0}}, weights="x.pth")


def table_of_ablation(folder: Path) -> Write:
    study = Study(tool=Path("x"), config="x", variants=(), metrics=())
    return lambda: study.write_table(folder, [1])


def onnx(folder: Path) -> Write:
    pytest.importorskip("onnxscript")
    program = torch.export.export(nn.Linear(30, 30), (torch.zeros(1, 30),))
    return lambda: write_onnx(program, folder / "model.onnx", ("out",))


def download_of_a_file(folder: Path) -> Write:
    def write() -> None:
        with running() as server:
            server.files["/weights.pth"] = bytes(5000)
            (folder / "weights.pth").unlink(missing_ok=True)  # else nothing is fetched
            download(f"{server.url}/weights.pth", folder / "weights.pth")

    return write


def copy_of_a_file(folder: Path) -> Write:
    source = folder.parent / "source.bin"
    source.write_bytes(bytes(5000))

    def write() -> None:
        if (folder / "copy.bin").exists():
            os.utime(folder / "copy.bin", (1, 1))  # older than its source
        copy_if_changed(source, folder / "copy.bin")

    return write


def packed_model(folder: Path) -> Write:
    source = folder.parent / "model"
    source.mkdir(exist_ok=True)
    write_config(source).rename(source / "config.yaml")
    write_weights(source).rename(source / "model_final.pth")
    return lambda: pack_model(source, folder)


def saved(form: str) -> Callable[[Path], Write]:
    return lambda folder: lambda: sample_result().save(folder, formats=form)


WRITERS: dict[str, Callable[[Path], Write]] = {
    **{f"result as {form}": saved(form) for form in FORMATS},
    "checkpoint": lambda folder: partial(AtomicCheckpointer(MODEL, str(folder)).save, "model"),
    "weights.pth": lambda folder: partial(write_checkpoint, STATE, folder / "w.pth"),
    "safetensors": lambda folder: partial(write_checkpoint, STATE, folder / "w.safetensors"),
    "bulk part": bulk_part("jsonl"),
    "bulk shard": bulk_part("tar"),
    "bulk report": bulk_report,
    "bulk manifest": lambda folder: lambda: Manifest(folder).write(["photo.jpg"] * 50, 10),
    "dataset": dataset,
    "picture of a dataset": dataset_picture,
    "photo of Shapes": lambda folder: lambda: _write_jpeg(folder / "photo.jpg", NOISE),
    "JSON": lambda folder: lambda: write_json(folder / "a.json", ["word"] * 50),
    "PNG": lambda folder: lambda: write_png(folder / "a.png", NOISE),
    "text features": text_features,
    "table of results": table_of_results,
    "table of an ablation": table_of_ablation,
    "ONNX": onnx,
    "download": download_of_a_file,
    "copy": copy_of_a_file,
    "packed model": packed_model,
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "ONNX")) for name in WRITERS],
)
def test_a_full_disk_leaves_the_old_files_or_none(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    write = WRITERS[name](folder)
    start = contents(folder)  # what a writer of many files has written before
    with full_disk(10), pytest.raises(OSError) as caught:  # noqa: PT011
        write()
    assert "\n" not in str(caught.value)
    assert contents(folder) == start
    write()
    before = contents(folder)
    assert before != start
    with full_disk(10), pytest.raises(OSError, match=r"cannot (be written|fetch)"):
        write()
    if name == "download":
        before = {}  # which the test has removed
    assert contents(folder) == before


def test_the_first_error_is_told(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    with (
        full_disk(100),
        pytest.raises(OSError, match=r"old\.png cannot be written: File too large"),
    ):
        write_atomically(tmp_path / "old.png", lambda file: file.write(bytes(500)))
    with pytest.raises(ValueError, match="a bug"):  # no error of the disk, so not told as one
        write_atomically(tmp_path / "old.png", lambda file: [][ValueErrorIndex()])
    assert contents(tmp_path) == {"old.png": b"old"}


class ValueErrorIndex:
    def __index__(self) -> int:
        raise ValueError("a bug")


def test_a_name_of_any_length_can_be_written_and_keeps_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / f"{'ü' * 125}.png"  # 254 bytes, of 255
    with replacing(path) as other:
        assert other.suffix == ".png"
        other.write_bytes(b"new")
    assert contents(tmp_path) == {path.name: b"new"}


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert contents(tmp_path) == {"a": b"first"}


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".model.12-3.partial.pth", ".tag.12-3.partial", ".hidden", ".x.partial.pth", "a"):
        write_text(tmp_path / name, "content")
    remove_partials(tmp_path)
    assert sorted(contents(tmp_path)) == [".hidden", ".x.partial.pth", "a"]


# Files that write in another way, and why.
EXCEPTIONS = {
    "freeseg/files.py": "the one way",
    "freeseg/bulk/job.py": "a lock",
    "freeseg/bulk/parts.py": "a part is written bit by bit; `publish` gives it its name",
    "freeseg/ops/build.py": "copies to what `replacing` names; a program in a temporary folder",
    "freeseg/visualization/tracks.py": "rows come one by one, into what `replacing` names",
    "freeseg/videos.py": "FFmpeg opens what `replacing` names",
    "freeseg/zoo/download.py": "a download goes on where it stopped; `publish` gives it its name",
    "tools/mutate.py": "its record; runs without the package",
    "tools/mutation": "changes files of a copy; runs without the package",
    "tools/check_install.py": "files in a temporary folder; runs without the package",
    "tools/stress_rows": "damages files",
    "tools/benchmark_rows": "files in temporary folders, and /proc",
}
WRITING = {"write_text", "write_bytes", "imwrite", "VideoWriter"}


SOURCES = {
    path.relative_to(ROOT).as_posix(): path
    for folder in ("freeseg", "tools")
    for path in (ROOT / folder).rglob("*.py")
}


@pytest.mark.parametrize(
    "name", [name for name in SOURCES if not name.startswith(tuple(EXCEPTIONS))]
)
def test_files_are_written_in_one_way_only(name: str) -> None:
    assert written_by_hand(SOURCES[name]) == []


@pytest.mark.parametrize("known", EXCEPTIONS)
def test_what_may_write_in_another_way_does(known: str) -> None:
    assert any(written_by_hand(path) for name, path in SOURCES.items() if name.startswith(known))


def written_by_hand(path: Path) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if writes_by_hand(call)]


def writes_by_hand(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id == "open" and is_for_writing(call)
    whole = ast.unparse(call.func)
    if call.func.attr == "open":
        return is_for_writing(call)
    return whole in ("os.replace", "json.dump", "shutil.copyfile") or call.func.attr in WRITING


def is_for_writing(call: ast.Call) -> bool:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    parts = (part for value in given for part in ast.walk(value))  # "ab" if done else "wb"
    modes = (part.value for part in parts if isinstance(part, ast.Constant))
    return any(mode in ("w", "wb", "a", "ab", "x", "xb") for mode in modes)

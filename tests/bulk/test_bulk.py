"""A job over many photos: every photo has one record, whatever is killed, broken or full."""

from __future__ import annotations

import gzip
import io
import json
import multiprocessing
import os
import runpy
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from freeseg.bulk import BulkJob, BulkSettings
from freeseg.bulk.manifest import Manifest, find_names
from freeseg.bulk.parts import PartWriter, part_path, read_part
from freeseg.bulk.photos import photos_of
from freeseg.bulk.worker import ModelSettings, Worker

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fixed_model import NAMES, write_config, write_weights

TESTS = Path(__file__).resolve().parents[1]
TOOL = TESTS.parent / "tools" / "segment_dataset.py"


def encoded(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(pixels, np.ones((5, 5, 1), np.uint8))).save(buffer, "PNG")
    return buffer.getvalue()


def test_messages_name_the_photo_of_a_shard(tmp_path, model, caplog):
    buffer, shard = io.BytesIO(), tmp_path / "a.tar"
    Image.fromarray(np.full((8, 8), 1000, np.uint16)).save(buffer, "PNG")
    with tarfile.open(shard, mode="w") as archive:
        member = tarfile.TarInfo("x ray.png")
        member.size = len(buffer.getvalue())
        archive.addfile(member, io.BytesIO(buffer.getvalue()))
    [photo] = photos_of([str(shard)])
    with caplog.at_level("WARNING", "freeseg.segmenter"):
        result = model.build()(photo.source)
    assert f"{shard}/x ray.png: the brightest of its 16-bit pixels is 1000" in caplog.text
    assert result.file_name == "x ray.png"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_shard_cut_anywhere_is_known_to_be_cut(tmp_path, suffix):
    whole = write_shard(tmp_path / "whole.tar", range(4)).read_bytes()
    end = whole.rindex(b"ustar") - 257 + 1024  # of the last content, before the end mark
    shard = tmp_path / f"cut.{suffix}"
    stored = gzip.compress(whole) if suffix == "tar.gz" else whole
    shard.write_bytes(stored)
    assert [one.error for one in photos_of([str(shard)])] == [""] * 4
    for length in range(0, len(stored) if suffix == "tar.gz" else end + 1, 64):
        shard.write_bytes(stored[:length])
        *before, last = photos_of([str(shard)])
        assert last.error.startswith(f"{shard}: is no tar file, or was cut off")
        assert [one.error for one in before] == [""] * len(before)


def write_shard(path: Path, names: range) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for index in names:
            for name, content in ((f"{index}.png", encoded(index)), (f"{index}.json", b"{}")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    path.write_bytes(buffer.getvalue())
    return path


def records(out: Path) -> list[dict]:
    return [row for part in sorted((out / "parts").iterdir()) for row in read_part(part)]


def job(photos, model, out, form="jsonl", **settings):
    settings = {"num_workers": 0, "chunk_size": 2, **settings}
    return BulkJob([str(photos)], model, out, form, BulkSettings(**settings))


def test_every_photo_has_one_record_with_its_annotations_or_its_error(photos, model, tmp_path):
    report = job(photos, model, tmp_path / "out").run()
    rows = records(tmp_path / "out")
    assert [row["photo"] for row in rows] == list(find_names([photos]))
    failed = {Path(row["photo"]).name: row["error"] for row in rows if "error" in row}
    assert set(failed) == {"cut.png", "empty.jpg"}
    assert failed["empty.jpg"].endswith("empty.jpg: is empty (0 bytes)")
    assert (report.photos, report.failed, report.missing_pieces) == (7, 2, 0)
    assert (report.photos_of_this_run, report.is_complete) == (7, False)
    stored = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["error"] for line in stored] == list(failed.values())
    assert json.loads((tmp_path / "out" / "report.json").read_text())["failed"] == 2


def test_records_hold_what_the_segmenter_finds(photos, model, tmp_path):
    job(photos, model, tmp_path / "out").run()
    row = records(tmp_path / "out")[0]
    expected = model.build()(row["photo"], "all")
    assert (row["image"]["height"], row["image"]["width"]) == expected.image.shape[:2]
    labels = np.full(expected.semantic.shape, -1)
    for region in row["semantic"]:
        mask = rle_codec.decode(region["segmentation"]).astype(bool)
        assert mask.sum() == region["area"]
        labels[mask] = NAMES.index(region["category"])
    np.testing.assert_array_equal(labels, expected.semantic)
    assert len(row["instance"]) == len(expected.instances)
    assert [one["area"] for one in row["panoptic"]] == [s.area for s in expected.panoptic.segments]


def test_a_job_that_is_started_again_does_what_is_missing_and_nothing_twice(
    photos, model, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    job(photos, model, out).run()
    whole = {part.name: part.read_bytes() for part in (out / "parts").iterdir()}
    assert len(whole) == 4
    part_path(out / "parts", 1, "jsonl").unlink()
    (out / "parts" / ".part-00000001.77-0.partial.jsonl").write_bytes(b'{"photo": ')
    (photos / "new.png").write_bytes(encoded(3))  # what comes later is not of this job
    asked = []
    run = Worker.run
    monkeypatch.setattr(Worker, "run", lambda self, chunk: asked.append(chunk) or run(self, chunk))
    report = job(photos, model, out).run()
    assert asked == [1]
    assert {part.name: part.read_bytes() for part in (out / "parts").iterdir()} == whole
    assert (report.photos, report.photos_of_this_run) == (7, 2)


def test_a_part_appears_whole_or_not_at_all(tmp_path):
    path = part_path(tmp_path, 3, "jsonl")
    writer = PartWriter(path)
    writer.write("a", {"photo": "x"})
    assert not path.exists()
    writer.close()
    assert list(read_part(path)) == [{"photo": "x"}]
    broken = PartWriter(part_path(tmp_path, 4, "webdataset"))
    broken.abandon()
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_shards_go_in_and_out_and_a_cut_one_loses_nothing_before_the_cut(model, tmp_path):
    whole = write_shard(tmp_path / "a.tar", range(3))
    cut = write_shard(tmp_path / "b.tar", range(3, 6))
    cut.write_bytes(cut.read_bytes()[: cut.read_bytes().rindex(b"5.png") + 600])
    out = tmp_path / "out"
    jobs = BulkJob([str(whole), str(cut)], model, out, "webdataset", BulkSettings(num_workers=0))
    report = jobs.run()
    rows = records(out)
    assert [Path(row["photo"]).name for row in rows[:3]] == ["0.png", "1.png", "2.png"]
    assert [Path(row["photo"]).name for row in rows[3:-1]] == ["3.png", "4.png"]
    assert rows[-1]["error"].startswith(f"{cut}: is no tar file, or was cut off")
    assert report.failed == 1
    assert report.photos == len(rows)
    with tarfile.open(part_path(out / "parts", 0, "webdataset")) as archive:
        names = archive.getnames()
        assert [Path(name).suffix for name in names] == [".json", ".png"] * 3
        assert archive.extractfile(names[1]).read() == encoded(0)


def test_a_list_of_files_and_pieces_of_any_size(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"grün {index}.jpg\n" for index in range(7)))
    for size in (1, 3, 7, 10):
        folder = tmp_path / str(size)
        folder.mkdir()
        manifest = Manifest(folder)
        assert not manifest.exists
        manifest.write(find_names([listed]), size)
        pieces = [manifest.read(chunk) for chunk in range(manifest.num_chunks)]
        assert [name for piece in pieces for name in piece] == [
            f"grün {index}.jpg" for index in range(7)
        ]
        assert all(len(piece) == size for piece in pieces[:-1])
    with pytest.raises(ValueError, match="nothing to segment"):
        Manifest(tmp_path).write([], 3)


def test_other_settings_and_a_second_job_are_refused(photos, model, tmp_path):
    out = tmp_path / "out"
    job(photos, model, out).run()
    other = ModelSettings(**{**vars(model), "task": "semantic"})
    with pytest.raises(ValueError, match="holds results of other settings"):
        job(photos, other, out).run()
    from freeseg.bulk.job import _alone_in

    with _alone_in(out), pytest.raises(ValueError, match="another job is running in"):
        job(photos, model, out).run()
    with pytest.raises(ValueError, match="the engine must be one of"):
        BulkSettings(engine="smoke")


def test_a_full_disk_costs_its_piece_and_the_next_run_makes_up_for_it(
    photos, model, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    close = PartWriter.close

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PartWriter, "close", full)
    with pytest.raises(OSError, match="No space left"):
        job(photos, model, out).run()
    monkeypatch.setattr(PartWriter, "close", close)
    assert job(photos, model, out).run().photos == 7


def die_of(monkeypatch, tmp_path, times):
    """Pieces kill the process that works on them, so many times, with half a part written."""
    run = Worker.run

    def deadly(self, chunk):
        deaths = len(list(tmp_path.glob(f"death-{chunk}-*")))
        if deaths < times.get(chunk, 0):
            (tmp_path / f"death-{chunk}-{deaths}").touch()
            PartWriter(part_path(self._out / "parts", chunk, "jsonl")).write("a", {"photo": "x"})
            os.kill(os.getpid(), signal.SIGKILL)
        return run(self, chunk)

    monkeypatch.setattr(Worker, "run", deadly)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_processes_that_are_killed_are_replaced_and_nothing_is_lost(
    photos, model, tmp_path, monkeypatch, forking, num_workers
):
    die_of(monkeypatch, tmp_path, {0: 1, 2: 1})
    report = job(photos, model, tmp_path / "out", num_workers=num_workers).run()
    assert len(list(tmp_path.glob("death-*"))) == 2
    assert (report.photos, report.missing_pieces, report.errors) == (7, 0, ())
    assert multiprocessing.active_children() == []
    assert [row["photo"] for row in records(tmp_path / "out")] == list(find_names([photos]))


def test_a_piece_that_kills_every_process_is_named_and_the_others_are_done(
    photos, model, tmp_path, monkeypatch, forking
):
    die_of(monkeypatch, tmp_path, {1: 2})
    report = job(photos, model, tmp_path / "out", num_workers=1).run()
    assert report.errors == ("piece 1: its process ended with exit code -9, twice",)
    assert (report.photos, report.missing_pieces, report.is_complete) == (5, 1, False)
    again = job(photos, model, tmp_path / "out", num_workers=1).run()
    assert (again.photos, again.photos_of_this_run, again.missing_pieces) == (7, 2, 0)
    assert list((tmp_path / "out" / "parts").glob(".*")) == []


def test_a_model_can_be_named_and_its_weights_replaced(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder).rename(folder / "config.yaml")
    write_weights(folder, gain=(1.0, 2.0, 3.0)).rename(folder / "model_final.pth")
    found = ModelSettings(model=str(folder)).build()
    assert found.model.gain.tolist() == [1.0, 2.0, 3.0]
    other = ModelSettings(model=str(folder), weights=str(write_weights(tmp_path))).build()
    assert other.model.gain.tolist() != [1.0, 2.0, 3.0]


def test_a_model_that_cannot_be_built_is_one_error_in_any_process(photos, model, tmp_path, forking):
    absent = ModelSettings(**{**vars(model), "weights": str(tmp_path / "absent.pth")})
    for num_workers in (0, 1):
        with pytest.raises((ValueError, OSError), match=r"absent\.pth does not exist"):
            job(photos, absent, tmp_path / f"out{num_workers}", num_workers=num_workers).run()


@pytest.mark.slow
def test_the_tool_runs_processes_of_their_own(photos, model, tmp_path, monkeypatch, capsys):
    words = [str(photos), "--config-file", model.config, "--weights", model.weights]
    words += ["--task", "all", "--import", "fixed_plugin", "--workers", "1", "--chunk", "4"]
    monkeypatch.setattr(sys, "argv", [str(TOOL), *words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 1  # two photos are broken
    assert "5 of 7 photos segmented" in capsys.readouterr().out
    job(photos, model, tmp_path / "plain", chunk_size=4).run()
    assert records(tmp_path / "out") == records(tmp_path / "plain")


@pytest.mark.slow
def test_rays_actors_do_the_same(photos, model, tmp_path, monkeypatch, signals_as_they_were):
    ray = pytest.importorskip("ray")
    pytest.importorskip("pyarrow")  # of ray[data]
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 starves actors where others compute
    job(photos, model, tmp_path / "plain").run()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)  # no more than actors
    try:
        report = job(photos, model, tmp_path / "ray", engine="ray", num_workers=2).run()
    finally:
        ray.shutdown()
    assert (report.photos, report.failed, report.missing_pieces) == (7, 2, 0)
    assert records(tmp_path / "ray") == records(tmp_path / "plain")

"""A job: what it takes, what it refuses, and what it says at the end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from freeseg.bulk import BulkJob, BulkSettings, ray_engine
from freeseg.bulk import job as job_module
from freeseg.bulk.manifest import Manifest
from freeseg.bulk.parts import PartWriter, part_path, read_part
from freeseg.bulk.processes import Done, run_in_processes
from freeseg.bulk.ray_engine import run_in_ray
from freeseg.bulk.records import AllFound
from freeseg.bulk.worker import ModelSettings


def test_settings_are_these_unless_said_otherwise():
    assert vars(BulkSettings()) == {"engine": "processes", "num_workers": 1, "chunk_size": 32}
    job = BulkJob(["x"], ModelSettings(), Path("out"))
    assert (job.form, job.settings) == ("jsonl", BulkSettings())
    fields = vars(ModelSettings())
    assert type(fields.pop("records")) is AllFound
    assert fields == {
        **{"model": None, "config": "", "weights": None, "device": None, "opts": ()},
        **{"task": "panoptic", "classes": None, "modules": ()},
    }


@pytest.mark.parametrize("fields", [{"num_workers": 0}, {"chunk_size": 1}, {"engine": "ray"}])
def test_a_limit_is_taken(fields):
    assert vars(BulkSettings(**fields)).items() >= fields.items()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_workers": -1}, "got -1 and 32"),
        ({"chunk_size": 0}, "got 1 and 0"),
        ({"engine": "spark"}, "got 'spark'"),
    ],
)
def test_one_step_beyond_a_limit_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        BulkSettings(**fields)


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"the format must be one of .* got 'zip'"):
        BulkJob(["x"], ModelSettings(), Path("out"), "zip")


class Clock:
    """Reads 100 s at first and two more seconds each time."""

    def __init__(self):
        self.now = 98.0

    def monotonic(self):
        self.now += 2.0
        return self.now


@pytest.fixture
def engine(monkeypatch):
    """Runs jobs with an engine that makes a record for every name; gives what it was asked for."""
    asked, fails = [], []

    def segment(chunks, model, out, form, num_workers):
        for chunk in chunks:
            asked.append((chunk, model, form, num_workers))
            if chunk in fails:
                yield Done(chunk, 0, f"piece {chunk}: the disk is full")
                continue
            names = Manifest(Path(out)).read(chunk)
            writer = PartWriter(part_path(Path(out) / "parts", chunk, form))
            for name in names:
                writer.write(name, {"photo": name, **({"error": "no"} if "bad" in name else {})})
            writer.close()
            yield Done(chunk, len(names))

    monkeypatch.setattr(job_module, "run_in_processes", segment)
    monkeypatch.setattr(job_module, "run_in_ray", lambda *a: segment(*a[:-1], f"ray {a[-1]}"))
    monkeypatch.setattr(job_module, "time", Clock())
    segment.asked, segment.fails = asked, fails
    return segment


NAMES = ["0.png", "1.png", "bad.png", "3.png", "4.png", "5.png", "6.png"]


def job(tmp_path, sources=NAMES, form="jsonl", **settings):
    (tmp_path / "list.txt").write_text("\n".join(sources))
    settings = BulkSettings(**{"chunk_size": 3, **settings})
    return BulkJob(
        [str(tmp_path / "list.txt")], ModelSettings("m"), tmp_path / "out", form, settings
    )


def test_a_report_counts_this_run_and_what_was_there(engine, tmp_path):
    engine.fails.append(1)
    report = job(tmp_path, num_workers=5).run()
    assert engine.asked == [(chunk, ModelSettings("m"), "jsonl", 5) for chunk in range(3)]
    counts = (report.photos, report.failed, report.pieces, report.missing_pieces)
    assert counts == (4, 1, 3, 1)
    assert report.errors == ("piece 1: the disk is full",)
    assert (report.photos_of_this_run, report.seconds, report.photos_per_second) == (4, 2.0, 2.0)
    engine.fails.clear()
    engine.asked.clear()
    again = job(tmp_path).run()
    assert [chunk for chunk, *_ in engine.asked] == [1]
    assert (again.photos, again.missing_pieces, again.errors) == (7, 0, ())
    assert (again.photos_of_this_run, again.seconds, again.photos_per_second) == (3, 2.0, 1.5)
    stored = json.loads((tmp_path / "out/report.json").read_text())
    assert (stored["photos_of_this_run"], stored["photos_per_second"]) == (3, 1.5)
    nothing = job(tmp_path).run()
    assert (nothing.photos, nothing.photos_of_this_run, nothing.photos_per_second) == (7, 0, 0.0)


@pytest.mark.parametrize("form", ["jsonl", "webdataset"])
def test_engine_format_and_pieces_are_the_settings(engine, tmp_path, form):
    job(tmp_path, form=form, engine="ray", num_workers=4, chunk_size=4).run()
    assert [asked[2:] for asked in engine.asked] == [(form, "ray 4")] * 2
    parts = [part_path(tmp_path / "out/parts", chunk, form) for chunk in range(2)]
    assert sorted((tmp_path / "out/parts").iterdir()) == parts
    assert [[one["photo"] for one in read_part(part)] for part in parts] == [NAMES[:4], NAMES[4:]]


@pytest.mark.parametrize("shard", ["a.tar", "b.TGZ"])
def test_among_shards_everything_is_a_piece_of_its_own(engine, tmp_path, shard):
    assert job(tmp_path, ["0.png", shard, "1.png"]).run().pieces == 3


def test_what_decides_the_output_may_not_change_and_the_rest_may(engine, tmp_path):
    job(tmp_path).run()
    report = job(tmp_path, engine="ray", num_workers=0, chunk_size=1).run()
    assert (report.pieces, report.photos_of_this_run) == (3, 0)
    with pytest.raises(ValueError, match=f"{tmp_path / 'out'} holds results of other settings"):
        job(tmp_path, form="webdataset").run()
    job(tmp_path).run()  # a refusal frees the folder


def test_a_folder_of_a_job_that_never_began_may_be_used(engine, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/settings.json").write_text("of a job that found no photos")
    assert job(tmp_path).run().photos == 7
    assert json.loads((tmp_path / "out/settings.json").read_text())["format"] == "jsonl"
    (tmp_path / "out/settings.json").unlink()
    assert job(tmp_path, form="webdataset").run().photos == 7


def test_a_run_that_came_to_nothing_binds_no_folder(engine, tmp_path):
    engine.fails.extend(range(3))
    assert job(tmp_path).run().photos == 0
    engine.fails.clear()
    assert job(tmp_path, NAMES[:2], form="webdataset").run().photos == 2
    assert json.loads((tmp_path / "out/settings.json").read_text())["format"] == "webdataset"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([*NAMES, "7.png"], "instead of nothing 7.png"),
        (NAMES[:-1], "instead of 6.png nothing"),
        (["0.png", "x.png", *NAMES[1:]], "instead of 1.png x.png"),
        (NAMES, ""),
    ],
)
def test_photos_that_came_or_went_meanwhile_are_said(engine, tmp_path, caplog, names, said):
    job(tmp_path).run()
    assert job(tmp_path, names).run().photos == 7
    told = [record.getMessage() for record in caplog.records]
    assert [said in each for each in told] == [True] * bool(said)
    caplog.clear()
    (tmp_path / "list.txt").unlink()
    gone = BulkJob([str(tmp_path / "list.txt")], ModelSettings("m"), tmp_path / "out")
    assert gone.run().photos == 7
    assert not caplog.records


@pytest.mark.parametrize("source", ["fotos", "list.txt", "shard.tar"])
def test_a_source_that_is_not_there_is_refused(engine, tmp_path, source):
    path = str(tmp_path / source)
    with pytest.raises(ValueError, match=rf"{source}: no such file or folder"):
        BulkJob(["gone.png", path], ModelSettings("m"), tmp_path / "out").run()
    (tmp_path / source).mkdir()
    assert BulkJob(["gone.png"], ModelSettings("m"), tmp_path / "out").run().photos == 1


def test_partial_files_are_removed_before_and_after(engine, tmp_path, monkeypatch):
    parts = tmp_path / "out/parts"
    parts.mkdir(parents=True)
    (parts / ".part-0.1-0.partial.jsonl").touch()
    run = job_module.run_in_processes

    def checked(*arguments):
        assert list(parts.glob(".*")) == []
        yield from run(*arguments)
        (parts / ".part-1.2-0.partial.jsonl").touch()

    monkeypatch.setattr(job_module, "run_in_processes", checked)
    job(tmp_path).run()
    assert list(parts.glob(".*")) == []


class Ray:
    """Ray's two modules as far as they are used; its cluster has so many CPUs, or says nothing."""

    def __init__(self, resources):
        self.resources, self.started, self.mapped = resources, [], []

    def is_initialized(self):
        return bool(self.started)

    def init(self, **options):
        self.started.append(options)

    def cluster_resources(self):
        return self.resources

    def from_items(self, rows, *, override_num_blocks):
        assert override_num_blocks == len(rows)
        self.rows = rows
        return self

    def map(self, actor, *, fn_constructor_args, concurrency):
        least, most = concurrency
        assert 1 <= least <= most
        self.mapped.append(concurrency)
        worker = actor(*fn_constructor_args)
        self.results = [worker(row) for row in self.rows]
        return self

    def iter_rows(self):
        return iter(self.results)


class Counter:
    def __init__(self, model, out, form):
        assert (model, out, form) == ("model", "out", "jsonl")

    def run(self, chunk):
        if chunk == 8:
            raise OSError(28, "No space left on device")
        return 100 + chunk


@pytest.mark.parametrize(
    ("cpus", "num_actors", "expected"),
    [
        *[({"CPU": 4.0}, 2, (2, 2)), ({"CPU": 2.0}, 4, (2, 4)), ({"CPU": 0.0}, 3, (1, 3))],
        *[({}, 3, (1, 3)), ({"CPU": 4.0}, 0, (1, 1)), ({"CPU": 4.0}, 4, (4, 4))],
    ],
)
def test_ray_gets_every_piece_and_no_more_actors_at_once_than_cpus(
    monkeypatch, cpus, num_actors, expected
):
    ray = Ray(cpus)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray)
    monkeypatch.setattr(ray_engine, "Worker", Counter)
    found = list(run_in_ray(iter([4, 8, 6]), "model", "out", "jsonl", num_actors))
    fault = Done(8, 0, "piece 8: [Errno 28] No space left on device")
    assert found == [Done(4, 104, ""), fault, Done(6, 106, "")]
    assert ray.mapped == [expected]
    assert list(run_in_ray(iter([]), "model", "out", "jsonl", num_actors)) == []
    options = {"log_to_driver": False, "include_dashboard": False, "num_cpus": None}
    assert ray.started == [options], "a cluster that is there is joined"


def test_without_ray_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'freeseg\[ray\]'"):
        next(run_in_ray(iter([1]), "model", "out", "jsonl", 1))


def test_engines_draw_nothing_before_they_are_asked():
    drawn = []
    run_in_processes((drawn.append(1) for _ in range(3)), ModelSettings(), "out", "jsonl", 1)
    assert drawn == []

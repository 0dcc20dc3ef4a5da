"""Figures count what lies in the parts; the rate counts what this run did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from freeseg.bulk.parts import PartWriter, part_path
from freeseg.bulk.report import BulkReport, write_report

FIGURES = {"photos": 5, "failed": 2, "pieces": 4, "missing_pieces": 1, "errors": ("piece 2: x",)}


def part(folder: Path, chunk: int, *records: dict) -> Path:
    writer = PartWriter(part_path(folder, chunk, "jsonl"))
    for number, record in enumerate(records):
        writer.write(str(number), record)
    writer.close()
    return part_path(folder, chunk, "jsonl")


@pytest.fixture
def parts(tmp_path) -> list[Path]:
    return [
        part(tmp_path, 0, {"photo": "a"}, {"photo": "b", "error": "first"}),
        part(tmp_path, 1),
        part_path(tmp_path, 2, "jsonl"),
        part(tmp_path, 3, {"photo": "c"}, {"photo": "d"}, {"photo": "é", "error": "second"}),
    ]


def test_a_report_is_this_and_nothing_else(parts, tmp_path):
    report = write_report(tmp_path, parts, ["piece 2: x"], num_new=3, seconds=8.00049)
    rate = {"photos_of_this_run": 3, "seconds": 8.0, "photos_per_second": 0.375}
    assert report == BulkReport(**FIGURES, **rate)
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored == {**FIGURES, **rate, "errors": ["piece 2: x"]}
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"photo": "b", "error": "first"},
        {"photo": "é", "error": "second"},
    ]


@pytest.mark.parametrize(
    ("num_new", "seconds", "rate"),
    [(0, 4.0, 0.0), (7, 0.0, 0.0), (0, 0.0, 0.0), (7, 0.25, 28.0), (1, 3.0, 0.333)],
)
def test_a_rate_is_photos_of_this_run_over_its_seconds(parts, tmp_path, num_new, seconds, rate):
    report = write_report(tmp_path, parts, [], num_new, seconds)
    assert (report.photos_of_this_run, report.photos_per_second) == (num_new, rate)


@pytest.mark.parametrize("failed", [0, 1])
@pytest.mark.parametrize("missing", [0, 1])
def test_a_job_is_complete_without_failures_and_gaps(failed, missing):
    counts = {"photos": 2, "failed": failed, "pieces": 2, "missing_pieces": missing}
    report = BulkReport(
        **counts, errors=(), photos_of_this_run=2, seconds=1.0, photos_per_second=2.0
    )
    assert report.is_complete == (failed + missing == 0)


def test_an_earlier_list_of_failures_is_replaced(parts, tmp_path):
    (tmp_path / "failures.jsonl").write_text("of an earlier run\n")
    write_report(tmp_path, parts[1:2], [], 0, 1.0)
    assert (tmp_path / "failures.jsonl").read_text() == ""

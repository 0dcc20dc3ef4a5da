from __future__ import annotations

import math

from freeseg.evaluation import results_table
from freeseg.evaluation.table import classes_table

RESULTS = {
    "sem_seg": {"mIoU": 51.234, "fwIoU": 70.0, "mACC": 60.0, "pACC": 90.0, "IoU-sky": 99.0},
    "panoptic_seg": {"PQ": 40.0, "SQ": 80.0, "RQ": 50.0, "PQ_th": 30.0, "PQ_st": 45.0},
    "segm": {"AP": math.nan, "AP50": 20.0, "AP75": 10.0, "AP-car": 1.0},
}


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_class_has_a_row():
    values = {"mIoU": 40.0, "IoU-sky": 99.0, "ACC-sky": 99.5, "IoU-car": math.nan, "ACC-car": 1.0}
    header, _, *rows = cells(classes_table(values, ["sky", "car"]))
    assert header == ["class", "IoU", "accuracy"]
    assert rows == [["sky", "99.00", "99.50"], ["car", "-", "1.00"]]


def test_one_row_per_task_and_the_headline_columns():
    header, _, *rows = cells(results_table(RESULTS))
    assert header == [
        *("task", "PQ", "SQ", "RQ", "PQ_th", "PQ_st"),
        *("mIoU", "mACC", "pACC", "AP", "AP50", "AP75"),
    ]
    by_task = {row[0]: dict(zip(header, row)) for row in rows}
    assert by_task["semantic"]["mIoU"] == "51.23"
    assert by_task["semantic"]["PQ"] == ""
    assert by_task["panoptic"]["RQ"] == "50.00"
    assert by_task["instance"]["AP"] == "-", "nan is no number"


def test_datasets_have_their_own_rows():
    header, _, *rows = cells(results_table({"a": {"segm": RESULTS["segm"]}, "b": RESULTS}))
    assert header[:2] == ["dataset", "task"]
    assert [row[:2] for row in rows] == [
        ["a", "instance"],
        ["b", "semantic"],
        ["b", "panoptic"],
        ["b", "instance"],
    ]


def test_all_lines_are_equally_long():
    assert len({len(line) for line in results_table({"name": RESULTS}).splitlines()}) == 1


def test_an_unknown_task_shows_all_its_metrics():
    header, _, row = cells(results_table({"depth": {"rmse": 1.0}}))
    assert (header, row) == (["task", "rmse"], ["depth", "1.00"])


def test_no_results_are_said():
    assert results_table({}) == "no results"
    assert results_table({"a": {}}) == "no results"

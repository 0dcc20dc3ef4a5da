"""Whole tables, written down by hand."""

from __future__ import annotations

import math

from freeseg.evaluation import results_table
from freeseg.evaluation.table import classes_table

ALL_TASKS = {
    "segm_cityscapes": {"AP": 12.345, "AP50": 23.0, "AP-car": 99.0},
    "depth": {"rmse": 0.125, "delta": 98.7654},
    "bbox": {"AP": 3.0, "AP50": 4.0, "AP75": 5.0, "APs": 6.0},
    "sem_seg_TTA": {"mIoU": 61.0, "fwIoU": 1.0, "mACC": 62.0, "pACC": 63.0},
    "segm_panoptic": {"AP": 13.0, "AP50": 14.0, "AP75": math.nan, "detections": 250.0},
    "sem_seg": {"mIoU": 51.0, "fwIoU": 1.0, "mACC": 52.0, "pACC": 53.0},
    "segm": {"AP": 7.0, "AP50": 8.0, "AP75": 9.0},
    "sem_seg_cityscapes": {"IoU": 71.0, "iIoU": 72.0, "IoU_sup": 73.0, "iIoU_sup": 74.0},
    "panoptic_seg": {
        "PQ": 40.0,
        "SQ": 80.0,
        "RQ": 50.0,
        "PQ_th": 30.0,
        "SQ_th": 1.0,
        "PQ_st": 45.5,
    },
}
COLUMNS = (
    *("PQ", "SQ", "RQ", "PQ_th", "PQ_st", "mIoU", "mACC", "pACC", "AP", "AP50", "AP75"),
    *("IoU", "iIoU", "IoU_sup", "iIoU_sup", "rmse", "delta"),
)
ROWS = {
    "instance, Cityscapes": {"AP": "12.35", "AP50": "23.00"},
    "depth": {"rmse": "0.12", "delta": "98.77"},
    "boxes": {"AP": "3.00", "AP50": "4.00", "AP75": "5.00"},
    "semantic, augmented": {"mIoU": "61.00", "mACC": "62.00", "pACC": "63.00"},
    "instance, panoptic truth, 250 detections": {"AP": "13.00", "AP50": "14.00", "AP75": "-"},
    "semantic": {"mIoU": "51.00", "mACC": "52.00", "pACC": "53.00"},
    "instance": {"AP": "7.00", "AP50": "8.00", "AP75": "9.00"},
    "semantic, Cityscapes": {
        "IoU": "71.00",
        "iIoU": "72.00",
        "IoU_sup": "73.00",
        "iIoU_sup": "74.00",
    },
    "panoptic": {"PQ": "40.00", "SQ": "80.00", "RQ": "50.00", "PQ_th": "30.00", "PQ_st": "45.50"},
}


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]


def test_every_task_has_its_row_and_its_own_numbers_alone():
    header, _, *rows = cells(results_table(ALL_TASKS))
    assert header == ["task", *COLUMNS]
    expected = [[task, *(row.get(name, "") for name in COLUMNS)] for task, row in ROWS.items()]
    assert rows == expected


TWO_SETS = {
    "val": {
        "segm": {"AP": 5.0, "AP50": 10.0, "AP_seen": 6.5, "AP_unseen": 3.0, "hAP": 4.125},
        "panoptic_seg": {
            **{"PQ": 40.0, "SQ": 80.0, "RQ": 50.0, "PQ_th": 41.0, "PQ_st": 39.0},
            **{"PQ_seen": 60.0, "PQ_unseen": 20.0, "hPQ": 30.0},
            **{"SQ_seen": 90.0, "SQ_unseen": math.nan, "RQ_seen": 66.0, "RQ_unseen": 0.0},
        },
    },
    "nothing": None,
    "other_set": {"segm": {"AP": 100.0, "AP50": 99.0, "AP75": 98.0}},
}
TWO_SETS_TABLE = """\
| dataset   | task     |    PQ |    SQ |    RQ | PQ_th | PQ_st |     AP |  AP50 |  AP75 |
| --------- | -------- | ----: | ----: | ----: | ----: | ----: | -----: | ----: | ----: |
| val       | instance |       |       |       |       |       |   5.00 | 10.00 |       |
| val       | panoptic | 40.00 | 80.00 | 50.00 | 41.00 | 39.00 |        |       |       |
| other_set | instance |       |       |       |       |       | 100.00 | 99.00 | 98.00 |

| dataset | task     | metric |  seen | unseen | harmonic |
| ------- | -------- | ------ | ----: | -----: | -------: |
| val     | instance | AP     |  6.50 |   3.00 |     4.12 |
| val     | panoptic | PQ     | 60.00 |  20.00 |    30.00 |
| val     | panoptic | SQ     | 90.00 |      - |          |
| val     | panoptic | RQ     | 66.00 |   0.00 |          |"""


def test_sets_and_their_seen_and_unseen_classes_to_the_letter():
    assert results_table(TWO_SETS) == TWO_SETS_TABLE


ONE_SET_TABLE = """\
| task     |  mIoU | mACC |   pACC |
| -------- | ----: | ---: | -----: |
| semantic | 51.23 | 6.00 | 100.00 |

| task     | metric | seen | unseen | harmonic |
| -------- | ------ | ---: | -----: | -------: |
| semantic | mIoU   | 7.00 |   5.00 |     5.83 |"""


def test_one_set_has_no_column_of_sets():
    values = {"mIoU": 51.234, "mACC": 6.0, "pACC": 100.0, "IoU-sky": 3.0}
    split = {"mIoU_seen": 7.0, "mIoU_unseen": 5.0, "hIoU": 5.8333}
    assert results_table({"sem_seg": {**values, **split}}) == ONE_SET_TABLE


def test_a_class_table_to_the_letter():
    values = {"IoU-sky": 9.0, "ACC-sky": 100.0, "IoU-traffic light": math.nan, "IoU-x": 1.0}
    values["ACC-traffic light"] = 0.0
    assert (
        classes_table(values, ["traffic light", "sky"])
        == """\
| class         |  IoU | accuracy |
| ------------- | ---: | -------: |
| traffic light |    - |     0.00 |
| sky           | 9.00 |   100.00 |"""
    )


def test_results_that_are_no_numbers_of_a_set_are_no_results():
    assert results_table({"val": None}) == "no results"
    assert results_table({"val": {"segm": {}}, "b": {}}).splitlines()[2:] == [
        "| val     | instance |    |      |      |"
    ]

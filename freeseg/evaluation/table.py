"""Tables of all results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LIMIT_KEY = "detections"  # of a photo that AP counts, where they are other than COCO's 100
CITYSCAPES_METRICS = ("IoU", "iIoU", "IoU_sup", "iIoU_sup")  # of classes, then of categories

LVIS_METRICS = tuple(
    f"AP{group}{limit}" for limit in ("", "_fixed") for group in ("", "r", "c", "f")
)

# what Detectron2's evaluators call a task -> what the table calls it, and its headline metrics
TASK_METRICS: dict[str, tuple[str, Sequence[str]]] = {
    "panoptic_seg": ("panoptic", ("PQ", "SQ", "RQ", "PQ_th", "PQ_st")),
    "sem_seg": ("semantic", ("mIoU", "mACC", "pACC")),
    "sem_seg_TTA": ("semantic, augmented", ("mIoU", "mACC", "pACC")),
    "segm": ("instance", ("AP", "AP50", "AP75")),
    "segm_panoptic": ("instance, panoptic truth", ("AP", "AP50", "AP75")),
    "bbox": ("boxes", ("AP", "AP50", "AP75")),
    "clicks": ("clicks", ("mIoU@1", "oracle@1", "mIoU@5", "NoC@85", "NoC@90")),
    "boxes": ("masks in given boxes", ("mIoU", "AP", "AP50", "AP75")),
    "proposals": ("proposals", ("AR@10", "AR@100", "AR@1000")),
    "sem_seg_cityscapes": ("semantic, Cityscapes", CITYSCAPES_METRICS),
    "sem_seg_cityscapes_TTA": ("semantic, augmented, Cityscapes", CITYSCAPES_METRICS),
    "edges": ("edges", ("ODS", "OIS", "AP", "R50")),
    "segm_cityscapes": ("instance, Cityscapes", ("AP", "AP50")),
    "clips": (
        "objects in clips",
        ("J&F", "J", "J_recall", "J_decay", "F", "F_recall", "F_decay"),
    ),
    "clips_seen_unseen": ("objects in clips, seen and unseen", ("G", "Js", "Fs", "Ju", "Fu")),
    "segm_lvis": ("instance, LVIS", LVIS_METRICS),
    "bbox_lvis": ("boxes, LVIS", LVIS_METRICS),
}

# task -> metrics that are split into seen and unseen classes, with the key of the harmonic mean
SPLIT_METRICS: dict[str, Mapping[str, str]] = {
    "sem_seg": {"mIoU": "hIoU"},
    "panoptic_seg": {"PQ": "hPQ", "SQ": "", "RQ": ""},
    "segm": {"AP": "hAP"},
}


def results_table(results: Mapping[str, Any]) -> str:
    """Markdown table of results: a row per dataset and task, a column per metric.

    Where results are split into seen and unseen classes, a second table has a row per metric.

    Args:
        results: what inference_on_dataset gave, {task: {metric: value}}, or such by dataset name.
    """
    by_dataset = {"": results} if _is_single(results) else results
    rows = [
        (dataset, task, values)
        for dataset, tasks in by_dataset.items()
        for task, values in (tasks or {}).items()
    ]
    if not rows:
        return "no results"
    columns = _columns([task for _, task, _ in rows], rows)
    header = ["dataset", "task", *columns]
    table = [
        [dataset, _task_name(task, values), *(_cell(values, task, c) for c in columns)]
        for dataset, task, values in rows
    ]
    tables = [_without_empty_first(header, table)]
    split = _split_rows(rows)
    if split:
        head = ["dataset", "task", "metric", "seen", "unseen", "harmonic"]
        tables.append(_without_empty_first(head, split))
    return "\n\n".join(_markdown(*each) for each in tables)


def classes_table(values: Mapping[str, float], names: Sequence[str]) -> str:
    """Markdown table of the semantic results of every class."""
    keys = {"IoU": "IoU", "accuracy": "ACC"}
    rows = [[name, *(_number(values[f"{key}-{name}"]) for key in keys.values())] for name in names]
    return _markdown(["class", *keys], rows)


def _task_name(task: str, values: Mapping[str, Any]) -> str:
    """What the table calls a task, with the number of detections where AP counts no 100."""
    name = TASK_METRICS.get(task, (task, ()))[0]
    limit = values.get(LIMIT_KEY)
    return name if limit is None else f"{name}, {limit:.0f} detections"


def _split_rows(rows: Sequence[tuple[str, str, Any]]) -> list[list[str]]:
    """Rows of the table of seen and unseen classes."""
    return [
        [
            dataset,
            TASK_METRICS[task][0],
            metric,
            *(_number(values.get(key)) for key in (f"{metric}_seen", f"{metric}_unseen", harmonic)),
        ]
        for dataset, task, values in rows
        for metric, harmonic in SPLIT_METRICS.get(task, {}).items()
        if f"{metric}_seen" in values
    ]


def _without_empty_first(
    header: list[str], table: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    """A table without its first column if that is empty."""
    if any(row[0] for row in table):
        return header, table
    return header[1:], [row[1:] for row in table]


def _is_single(results: Mapping[str, Any]) -> bool:
    """True for {task: {metric: number}}, False for {dataset: {task: ...}}."""
    return any(
        not isinstance(value, Mapping)
        for values in results.values()
        for value in (values or {}).values()
    )


def _columns(tasks: Sequence[str], rows: Sequence[tuple[str, str, Any]]) -> list[str]:
    """Headline metrics of the tasks present, then all metrics of tasks that are not known here."""
    columns: list[str] = []
    for task in (*TASK_METRICS, *tasks):
        if task in tasks:
            unknown = [name for _, other, values in rows if other == task for name in values]
            columns += TASK_METRICS.get(task, (task, unknown))[1]
    return list(dict.fromkeys(columns))


def _cell(values: Mapping[str, Any], task: str, column: str) -> str:
    value = values.get(column)
    return _number(value) if column in TASK_METRICS.get(task, (task, [column]))[1] else ""


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "-" if math.isnan(value) else f"{value:.2f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    is_text = [name in ("dataset", "task", "metric", "class") for name in header]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(cells, widths, is_text)
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if text else "-" * (width - 1) + ":" for width, text in zip(widths, is_text)
    ]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])

"""Evaluators of a dataset by the tasks that a configuration has on, and the table of results."""

from __future__ import annotations

from freeseg.evaluation.best_metric import best_metric, require_known_metric
from freeseg.evaluation.builder import build_evaluators, judges, truth_task, wanted_tasks
from freeseg.evaluation.table import results_table

__all__ = [
    "best_metric",
    "build_evaluators",
    "judges",
    "require_known_metric",
    "results_table",
    "truth_task",
    "wanted_tasks",
]

"""Evaluators of a dataset by the tasks that a configuration has on, and the table of results."""

from __future__ import annotations

from freeseg.evaluation.builder import build_evaluators, judged_tasks, wanted_tasks
from freeseg.evaluation.table import results_table

__all__ = ["build_evaluators", "judged_tasks", "results_table", "wanted_tasks"]

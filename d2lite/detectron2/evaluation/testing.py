"""What to do with results: print them, check them, flatten them."""

from __future__ import annotations

import logging
import pprint
import sys
from collections.abc import Mapping

import numpy as np


def print_csv_format(results):
    """Log each task's metrics as two comma-separated lines, ready for a spreadsheet.

    Per-category metrics, which have a "-" in their name, are left out.

    Args:
        results: task -> {metric: score}, or task -> a single score.
    """
    assert isinstance(results, Mapping) or len(results) == 0, results
    logger = logging.getLogger(__name__)
    for task, scores in results.items():
        if not isinstance(scores, Mapping):
            logger.info(f"copypaste: {task}={scores}")
            continue
        shown = {metric: score for metric, score in scores.items() if "-" not in metric}
        logger.info(f"copypaste: Task: {task}")
        logger.info("copypaste: " + ",".join(shown))
        logger.info("copypaste: " + ",".join(f"{score:.4f}" for score in shown.values()))


def verify_results(cfg, results):
    """Check results against ``cfg.TEST.EXPECTED_RESULTS``; exit the program if they are off.

    Args:
        cfg: its EXPECTED_RESULTS is a list of (task, metric, expected, tolerance).
        results: task -> {metric: score}.

    Returns:
        True; a failure raises SystemExit.
    """
    expected_results = cfg.TEST.EXPECTED_RESULTS
    if not len(expected_results):
        return True

    def holds(task, metric, expected, tolerance):
        actual = results[task].get(metric)
        return actual is not None and np.isfinite(actual) and abs(actual - expected) <= tolerance

    logger = logging.getLogger(__name__)
    checks = [holds(*row) for row in expected_results]
    if not all(checks):
        logger.error("Result verification failed!")
        logger.error(f"Expected Results: {expected_results}")
        logger.error(f"Actual Results: {pprint.pformat(results)}")
        sys.exit(1)
    logger.info("Results verification passed.")
    return True


def flatten_results_dict(results):
    """Turn nested dicts into one: ``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``."""
    flat = {}
    for key, value in results.items():
        if isinstance(value, Mapping):
            inner = flatten_results_dict(value)
            flat.update((f"{key}/{name}", score) for name, score in inner.items())
        else:
            flat[key] = value
    return flat

"""The results of a job: one table on the screen, and files that people and programs read."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from freeseg.evaluation import results_table
from freeseg.files import write_text

logger = logging.getLogger(__name__)


def write_config(cfg: CfgNode) -> None:
    """Writes ``config.yaml`` into OUTPUT_DIR."""
    folder = Path(cfg.OUTPUT_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", cfg.dump())


def report_results(cfg: CfgNode, results: Mapping[str, Any], *, weights: str) -> None:
    """Logs one table and writes ``results.md`` and ``results.json`` into OUTPUT_DIR.

    Args:
        cfg: the job's configuration.
        results: what ``Trainer.test`` returned: by dataset name when there are several.
        weights: what was evaluated, which the files say: "weights" is the last key of the JSON.
    """
    names = cfg.DATASETS.TEST
    by_dataset = dict(results) if len(names) > 1 else {names[0]: results}
    table = results_table(by_dataset)
    folder = Path(cfg.OUTPUT_DIR)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "results.md", f"{table}\n\nWeights: {weights}\n")
    content = json.dumps({**_without_nan(by_dataset), "weights": weights}, indent=2)
    write_text(folder / "results.json", content + "\n")
    logger.info("Results of %s, also in %s:\n%s", weights, folder / "results.md", table)


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: a metric without a value (a class that never occurs) becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    return float(value) if math.isfinite(value) else None

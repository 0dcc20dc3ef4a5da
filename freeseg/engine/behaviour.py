"""Runs the questions of `freeseg.evaluation.behaviour` on a test set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.data import detection_utils as utils
from freeseg.catalog import listed_vocabulary
from freeseg.data import build_mapper, evenly_spread
from freeseg.data.records import dataset_records
from freeseg.engine.few_shot import load_model
from freeseg.evaluation.behaviour import Probes, measure_behaviour
from freeseg.structures import LABEL_MAP_KEY, Vocabulary


def run_behaviour(cfg: CfgNode, probes: str | Path, limit: int = 0) -> dict[str, float]:
    """Percentages on the first of DATASETS.TEST, see `measure_behaviour`.

    Args:
        cfg: Of an `LSeg` or `FreeSeg`, with MODEL.WEIGHTS.
        probes: JSON file.
        limit: Photos, evenly spread over the set; 0: all.
    """
    model: Any = load_model(cfg, cfg.MODEL.WEIGHTS)
    name = cfg.DATASETS.TEST[0]
    names = list(listed_vocabulary(name).names)

    def ask(x: Mapping[str, Any], vocabulary: Vocabulary) -> Tensor:
        labels: Tensor = model([{**x, "vocabulary": vocabulary}])[0]["sem_seg"]
        return labels.cpu()

    with torch.no_grad():
        return measure_behaviour(ask, _photos(cfg, name, limit), names, Probes.read(probes))


def behaviour_table(results: Mapping[str, float]) -> str:
    """Markdown table, a row per measurement."""
    lines = ["| measured | % |", "| --- | ---: |"]
    return "\n".join([*lines, *(f"| {name} | {value:.1f} |" for name, value in results.items())])


def _photos(cfg: CfgNode, name: str, limit: int) -> Iterator[tuple[dict[str, Any], Tensor]]:
    mapper = build_mapper(cfg, is_train=False)
    for record in evenly_spread(dataset_records(name), limit):
        truth = torch.from_numpy(np.array(utils.read_image(record["sem_seg_file_name"])))
        size = {"height": truth.shape[0], "width": truth.shape[1]}
        inputs = {**mapper(record), **size, "tasks": ("semantic",), LABEL_MAP_KEY: True}
        yield inputs, truth

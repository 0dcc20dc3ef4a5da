"""COCO's panoptic quality, from PNG files to numbers, by threads that count pixels in C++.

Detectron2's evaluator asks panopticapi; the figures are the same. Shapes: K categories.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from detectron2.evaluation import COCOPanopticEvaluator
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from freeseg.evaluation.panoptic import PanopticCounts
from freeseg.ops import read_id_map

logger = logging.getLogger(__name__)

Annotation = Mapping[str, Any]
Results = dict[str, Any]
ReadPng = Callable[[Annotation], bytes]

MAX_THREADS = 8


class PanopticEvaluator(COCOPanopticEvaluator):
    """Detectron2's evaluator of panoptic results, counted here."""

    def evaluate(self) -> Results | None:
        comm.synchronize()
        predictions = list(itertools.chain(*comm.gather(self._predictions)))
        if not comm.is_main_process():
            return None
        truth_folder = Path(PathManager.get_local_path(self._metadata.panoptic_root))
        with PathManager.open(self._metadata.panoptic_json) as file:
            truth = json.load(file)
        pngs = {one["image_id"]: one.pop("png_string") for one in predictions}
        if self._output_dir is not None:
            with PathManager.open(os.path.join(self._output_dir, "predictions.json"), "w") as file:
                json.dump({**truth, "annotations": predictions}, file)
        quality = panoptic_quality(
            truth,
            predictions,
            read_true=lambda one: (truth_folder / one["file_name"]).read_bytes(),
            read_found=lambda one: pngs[one["image_id"]],
        )
        logger.info("Panoptic quality: %s", quality)
        return OrderedDict(panoptic_seg=quality)


def panoptic_quality(
    truth: Mapping[str, Any],
    predictions: Sequence[Annotation],
    *,
    read_true: ReadPng,
    read_found: ReadPng,
) -> dict[str, float]:
    """PQ, SQ and RQ in percent over all categories, things ("_th") and stuff ("_st").

    Args:
        truth: COCO's panoptic JSON: ``annotations`` and ``categories``.
        predictions: One annotation for every true one, by ``image_id``.
        read_true: The PNG file of a true annotation.
        read_found: The PNG file of a predicted one.

    Raises:
        ValueError: When an image has no prediction.
        KeyError: When a prediction has a category that the truth does not know.
    """
    number = {row["id"]: index for index, row in enumerate(truth["categories"])}
    found = {one["image_id"]: one for one in predictions}
    missing = [one["image_id"] for one in truth["annotations"] if one["image_id"] not in found]
    if missing:
        raise ValueError(f"no prediction for {len(missing)} images, the first is {missing[0]}")

    def count(true: Annotation) -> PanopticCounts:
        prediction = found[true["image_id"]]
        sides = (
            side
            for one, read in ((true, read_true), (prediction, read_found))
            for side in (read_id_map(read(one)), _numbered(one["segments_info"], number))
        )
        counts = PanopticCounts(len(number))
        counts.add_image(*sides)
        return counts

    total = PanopticCounts(len(number))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for counts in pool.map(count, truth["annotations"]):
            total += counts
    is_thing = np.array([bool(row["isthing"]) for row in truth["categories"]], dtype=bool)
    groups = {"": np.ones_like(is_thing), "_th": is_thing, "_st": ~is_thing}
    return {
        metric + suffix: _mean(values[members])
        for suffix, members in groups.items()
        for metric, values in total.quality().items()
    }


def _numbered(segments: Sequence[Annotation], number: Mapping[int, int]) -> list[dict[str, Any]]:
    return [{**one, "category_id": number[one["category_id"]]} for one in segments]


def _mean(values: np.ndarray[Any, Any]) -> float:
    """Over categories that occur."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")

"""Judges how objects are followed through clips, as DAVIS and YouTube-VOS do."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from freeseg.catalog import dataset_metadata
from freeseg.data.clips import clip_of
from freeseg.data.datasets.clips import CLIPS
from freeseg.data.records import dataset_records
from freeseg.evaluation.clips.judging import judge_clip, judged_alone
from freeseg.evaluation.clips.results import ResultWriter, read_results, require_results
from freeseg.evaluation.clips.scores import ObjectSeries, davis_scores, youtube_vos_scores

LABEL_MAPS_KEY = "label_maps"  # of an output: one [H, W] for every frame
SEEN_UNSEEN = f"{CLIPS}_seen_unseen"  # results

logger = logging.getLogger(__name__)


def has_clips(dataset_name: str) -> bool:
    """Whether a dataset is one of clips."""
    return bool(dataset_metadata(dataset_name).get("evaluator_type") == CLIPS)


class ClipEvaluator(DatasetEvaluator):
    """Collects J and F of every object, frame by frame.

    An object is judged on frames with masks after the one where its own is given, in DAVIS's sets
    without the last frame of the clip.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Takes where label maps are written; None: nowhere."""
        self._writer = None if folder is None else ResultWriter(folder)
        self.reset()

    def reset(self) -> None:
        self._series: list[ObjectSeries] = []

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Judges clips.

        Args:
            inputs: Records of clips.
            outputs: Each has ``label_maps``, an iterable of one [H, W] for every frame, see
                `judge_clip`; it is gone through once, and no map is kept.
        """
        for record, output in zip(inputs, outputs):
            clip = clip_of(record)
            keep = None if self._writer is None else functools.partial(self._writer.write, clip)
            self._series += judge_clip(clip, output[LABEL_MAPS_KEY], keep)

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """{"clips": percentages}, and {"clips_seen_unseen": ...} where classes are known.

        {} where nothing is judged.
        """
        found = [one for part in comm.gather(self._series) for one in part]
        if not comm.is_main_process():
            return None
        series = judged_alone(found)
        if len(series) < len(found):
            where = "" if self._writer is None else f"; label maps are in {self._writer.folder}"
            logger.warning(
                "%d of %d objects have no masks to be judged by%s",
                len(found) - len(series),
                len(found),
                where,
            )
        if not series:
            return {}
        results = {CLIPS: davis_scores(series)}
        if any(one.is_seen is not None for one in series):
            results[SEEN_UNSEEN] = youtube_vos_scores(series)
        return results


def evaluate_folder(folder: Path, dataset_name: str) -> dict[str, dict[str, float]]:
    """Scores of label maps that anybody has written, FOLDER/CLIP/FRAME.png.

    Frames that are not judged need no file.

    Raises:
        DataError: Files are missing; says of which clips.
        ValueError: The dataset has no clips, no masks to judge by, or a file cannot be used.
    """
    if not has_clips(dataset_name):
        raise ValueError(f"{dataset_name} is no dataset of clips")
    records = dataset_records(dataset_name)
    require_results(folder, records)
    evaluator = ClipEvaluator()
    for record in records:
        evaluator.process([record], [{LABEL_MAPS_KEY: read_results(folder, clip_of(record))}])
    results = evaluator.evaluate()
    if not results:
        raise ValueError(
            f"{dataset_name} has masks where objects begin and no others: its server judges results"
        )
    return results

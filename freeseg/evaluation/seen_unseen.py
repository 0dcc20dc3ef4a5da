"""Metrics of seen and unseen classes beside those of all: Detectron2's evaluators, wrapped.

All classes compete in the prediction (the generalised protocol); only the average is split.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from freeseg.data.annotation_files import read_segment_ids
from freeseg.evaluation.panoptic import PanopticCounts
from freeseg.evaluation.panoptic_evaluator import PanopticEvaluator
from freeseg.evaluation.truth import Truth
from freeseg.structures import Vocabulary

Results = dict[str, Any]

# task in the results -> metric of all classes, and the key of a class's own value
_CLASS_KEYS = {
    "sem_seg": ("mIoU", "IoU-{}"),
    "segm": ("AP", "AP-{}"),
    "segm_panoptic": ("AP", "AP-{}"),
}
_HARMONIC = {"mIoU": "hIoU", "AP": "hAP", "PQ": "hPQ"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeenUnseen:
    """Which of a dataset's classes a model has been trained on.

    Attributes:
        names: All classes in the order of their numbers.
        is_seen: One flag per class.
    """

    names: tuple[str, ...]
    is_seen: tuple[bool, ...]

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> SeenUnseen | None:
        """What is known of a class list; None unless it has classes of both kinds."""
        flags = vocabulary.is_seen
        if not flags or all(flags) or not any(flags):
            return None
        return cls(vocabulary.names, flags)

    def means(self, metric: str, values: Mapping[str, float]) -> dict[str, float]:
        """`metric`_seen, `metric`_unseen and, of a main metric, their harmonic mean.

        Args:
            metric: Its name for all classes.
            values: By class name; a class that is missing or nan has no ground truth, and is left
                out of the mean.
        """
        groups = {}
        for group, wanted in (("seen", True), ("unseen", False)):
            members = [name for name, flag in zip(self.names, self.is_seen) if flag is wanted]
            known = [values[name] for name in members if not np.isnan(values.get(name, np.nan))]
            groups[group] = float(np.mean(known)) if known else float("nan")
            logger.info("%s_%s: mean of %d classes of %d", metric, group, len(known), len(members))
        result = {f"{metric}_{group}": value for group, value in groups.items()}
        if metric in _HARMONIC:
            result[_HARMONIC[metric]] = harmonic_mean(*groups.values())
        return result


def harmonic_mean(seen: float, unseen: float) -> float:
    """2 S U / (S + U): high only if both are; 0 where both are 0."""
    total = seen + unseen
    return 2 * seen * unseen / total if total != 0 else 0.0


class SeenUnseenEvaluator(DatasetEvaluator):
    """An evaluator whose results have values of single classes, and now means of seen and unseen.

    This holds for Detectron2's SemSegEvaluator and COCOEvaluator.
    """

    def __init__(self, evaluator: DatasetEvaluator, classes: SeenUnseen) -> None:
        self.evaluator = evaluator
        self.classes = classes

    def reset(self) -> None:
        self.evaluator.reset()

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.evaluator.process(inputs, outputs)

    def evaluate(self) -> Results | None:
        results: Results | None = self.evaluator.evaluate()
        for task, (metric, key) in _CLASS_KEYS.items():
            values = (results or {}).get(task)
            if values:
                of_class = {
                    name: values[key.format(name)]
                    for name in self.classes.names
                    if key.format(name) in values
                }
                values.update(self.classes.means(metric, of_class))
        return results


class SeenUnseenPanopticEvaluator(PanopticEvaluator):
    """COCO's panoptic quality, and its means over the seen and the unseen classes.

    Detectron2's evaluator gives means over all classes only, so segments are counted by class here.
    """

    def __init__(self, truth: Truth, folder: Path, classes: SeenUnseen) -> None:
        super().__init__(truth, folder)
        self.classes = classes
        self._truth = {record["image_id"]: record for record in truth.records}
        self._counts = PanopticCounts(len(classes.names))

    def reset(self) -> None:
        super().reset()
        self._counts = PanopticCounts(len(self.classes.names))

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        # first, for Detectron2's evaluator writes the dataset's category ids into the segments
        for image, output in zip(inputs, outputs):
            ids, segments = output["panoptic_seg"]
            if segments is None:
                raise ValueError("seen and unseen classes need panoptic results with segments_info")
            truth = self._truth[image["image_id"]]
            true_ids = read_segment_ids(truth)
            self._counts.add_image(true_ids, truth["segments_info"], ids.cpu().numpy(), segments)
        super().process(inputs, outputs)

    def evaluate(self) -> Results | None:
        results: Results | None = super().evaluate()
        parts = comm.gather(self._counts)
        if results is None:  # not the main process
            return None
        total = PanopticCounts(len(self.classes.names))
        for part in parts:
            total += part
        for metric, values in total.quality().items():
            of_class = dict(zip(self.classes.names, values.tolist()))
            results["panoptic_seg"].update(self.classes.means(metric, of_class))
        return results

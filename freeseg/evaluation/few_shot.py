"""Scores of few- and zero-shot segmentation: mIoU over a fold's classes, and FB-IoU.

Shapes: K classes, H W image size.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

VOID = 255  # in the truth

logger = logging.getLogger(__name__)


class FewShotEvaluator(DatasetEvaluator):
    """Adds up intersections and unions of background and foreground, class by class.

    mIoU is the mean over classes of the foreground's IoU, where the pixels of all episodes of a
    class are counted together; FB-IoU is the mean of the background's and the foreground's IoU,
    where the pixels of all episodes are.
    """

    def __init__(
        self, classes: Mapping[int, str], is_seen: Mapping[int, bool] | None = None
    ) -> None:
        """Takes the fold's classes.

        Args:
            classes: Their names by their numbers.
            is_seen: Which of them a model was trained on: both kinds have a mean of their own.
        """
        self.classes = dict(classes)
        self.is_seen = None if is_seen is None else dict(is_seen)
        self._place = {class_id: place for place, class_id in enumerate(self.classes)}
        self.reset()

    def reset(self) -> None:
        shape = (len(self.classes), 2)  # [K, background and foreground]
        self._intersections = np.zeros(shape, dtype=np.int64)
        self._unions = np.zeros(shape, dtype=np.int64)

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Counts episodes.

        Args:
            inputs: Each has ``truth`` uint8 [H, W] in {0, 1, 255} and ``class_id``.
            outputs: Each has ``mask`` bool [H, W], or ``sem_seg``: scores [2, H, W] or labels
                [H, W] of background and foreground.
        """
        for episode, output in zip(inputs, outputs):
            found, truth = foreground(output).cpu(), episode["truth"]
            if found.shape != truth.shape:
                raise ValueError(
                    f"the mask is {tuple(found.shape)}, the truth {tuple(truth.shape)}"
                )
            place = self._place[episode["class_id"]]
            is_judged = truth != VOID
            for side in (0, 1):
                predicted, true = (found == side) & is_judged, truth == side
                self._intersections[place, side] += int((predicted & true).sum())
                self._unions[place, side] += int((predicted | true).sum())

    def _of_kinds(self, of_class: npt.NDArray[np.float64]) -> dict[str, float]:
        """Means over seen and over unseen classes, where both are told apart."""
        if self.is_seen is None:
            return {}
        is_seen = np.array([self.is_seen[label] for label in self.classes], dtype=bool)
        return {"mIoU_seen": _mean(of_class[is_seen]), "mIoU_unseen": _mean(of_class[~is_seen])}

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """{"few_shot": percentages}; a class without episodes is left out of the mean."""
        parts = comm.gather((self._intersections, self._unions))
        if not comm.is_main_process():
            return None
        intersections = sum(part[0] for part in parts)
        unions = sum(part[1] for part in parts)
        of_class = _ratio(intersections[:, 1], unions[:, 1])
        sides = _ratio(intersections.sum(0), unions.sum(0))
        results = {
            "mIoU": _mean(of_class),
            "FB-IoU": _mean(sides),
            **self._of_kinds(of_class),
            **{f"IoU-{name}": float(iou) for name, iou in zip(self.classes.values(), of_class)},
        }
        unknown = int(np.isnan(of_class).sum())
        if unknown:
            logger.warning("%d of %d classes have no episode", unknown, len(self.classes))
        return {"few_shot": results}


def foreground(output: Mapping[str, Any]) -> Tensor:
    """The mask [H, W] that a model gave, as 0 and 1."""
    if "mask" in output:
        return output["mask"].to(torch.uint8)
    semantic = output["sem_seg"]
    labels: Tensor = semantic if semantic.dim() == 2 else semantic.argmax(0)
    return labels.to(torch.uint8)


def _ratio(
    intersections: npt.NDArray[np.int64], unions: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    return np.where(unions > 0, 100.0 * intersections / np.maximum(unions, 1), np.nan)


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")

"""Objects that are clicked on until they are good enough, and the scores of it.

Shapes: N objects, A of them that are not good enough yet, P clicks on each, K most clicks,
h w size of mask logits, H W photo size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from freeseg.evaluation.pointing.clicker import next_click, overlap
from freeseg.evaluation.pointing.counts import counts_of, joined_rows
from freeseg.evaluation.pointing.photo import EncodedPhoto, TrueObjects, dense_masks, first_answers
from freeseg.structures import InstanceSet, Prompt
from freeseg.structures.marks import ABSENT

REPORTED = (1, 2, 3, 5, 9)  # clicks after which mIoU is reported, as in SAM's paper
LEVELS = (85, 90)  # percent of overlap to which clicks are counted
MAX_CLICKS = 20  # of RITM's protocol


@dataclass(frozen=True, eq=False)
class ClickedObjects:
    """How good the answers about N objects were.

    Attributes:
        overlaps: Float64 [N, K], intersection by union after 1 to K clicks; what was good enough
            keeps its last one.
        oracle: Float64 [N], that of the best reading after one click.
    """

    overlaps: Tensor
    oracle: Tensor


def click_on(
    photo: EncodedPhoto,
    objects: TrueObjects,
    *,
    max_clicks: int = MAX_CLICKS,
    objects_at_once: int = 16,
) -> ClickedObjects:
    """Clicks on every object, each time where the answer is most wrong.

    The mask logits of an answer go back with the next click, if the system takes any. An object is
    left alone once nothing is wrong with it, or no number that is reported depends on it.

    Args:
        photo: Encoded by a system that takes points.
        objects: Of the photo.
        max_clicks: K.
        objects_at_once: Asked about together.
    """
    parts = [
        _click_on_some(photo, masks, objects.ignored, max_clicks)
        for masks in objects.masks.split(objects_at_once)
    ]
    return ClickedObjects(
        torch.cat([part.overlaps for part in parts]), torch.cat([part.oracle for part in parts])
    )


def _click_on_some(
    photo: EncodedPhoto, masks: Tensor, ignored: Tensor | None, max_clicks: int
) -> ClickedObjects:
    overlaps = torch.zeros(len(masks), max_clicks, dtype=torch.float64)
    oracle = torch.zeros(len(masks), dtype=torch.float64)
    dialogues = _Dialogues.begun(masks)
    for number in range(max_clicks):
        dialogues = dialogues.clicked(ignored)
        if not len(dialogues.rows):
            break
        found = dialogues.ask(photo, wants_alternatives=number == 0)
        answers = first_answers(found, len(dialogues.rows))
        dialogues = dialogues.answered(answers)
        reached = overlap(dialogues.masks, dialogues.predicted, ignored)
        overlaps[dialogues.rows, number:] = reached[:, None]
        if number == 0:
            oracle = _best_readings(found, masks, ignored)
        if number + 1 >= max(REPORTED):
            dialogues = dialogues.of(reached < max(LEVELS) / 100)
    return ClickedObjects(overlaps, oracle)


def _best_readings(found: InstanceSet, masks: Tensor, ignored: Tensor | None) -> Tensor:
    """The largest overlap, float64 [N], of any result about each object."""
    owners = torch.arange(len(found)) if found.owners is None else found.owners.cpu()
    reached = overlap(masks[owners], dense_masks(found), ignored)
    return reached.new_zeros(len(masks)).scatter_reduce(0, owners, reached, "amax")


@dataclass(frozen=True, eq=False)
class _Dialogues:
    """What has been said about A objects of a photo, and answered.

    Attributes:
        rows: int64 [A], their numbers among all.
        masks: Bool [A, H, W], the truth.
        predicted: Bool [A, H, W], the last answers.
        taken: Bool [A, H, W], pixels that were clicked.
        points: Float [A, P, 2], (x, y).
        signs: int64 [A, P].
        logits: Float [A, h, w], of the last answers; None before them, and of a system without.
    """

    rows: Tensor
    masks: Tensor
    predicted: Tensor
    taken: Tensor
    points: Tensor
    signs: Tensor
    logits: Tensor | None

    @classmethod
    def begun(cls, masks: Tensor) -> _Dialogues:
        """Nothing said, of objects bool [N, H, W]."""
        count = len(masks)
        return cls(
            torch.arange(count),
            masks,
            torch.zeros_like(masks),
            torch.zeros_like(masks),
            torch.zeros(count, 0, 2),
            torch.zeros(count, 0, dtype=torch.int64),
            None,
        )

    def of(self, chosen: Tensor) -> _Dialogues:
        """Some of them, by bool [A]."""
        if chosen.all():
            return self
        return _Dialogues(
            self.rows[chosen],
            self.masks[chosen],
            self.predicted[chosen],
            self.taken[chosen],
            self.points[chosen],
            self.signs[chosen],
            None if self.logits is None else self.logits[chosen.to(self.logits.device)],
        )

    def clicked(self, ignored: Tensor | None) -> _Dialogues:
        """Those with which something is wrong, with a click more."""
        clicks = next_click(self.masks, self.predicted, ignored, self.taken)
        is_wrong = clicks.signs != ABSENT
        left = self.of(is_wrong)
        points, signs = clicks.points[is_wrong], clicks.signs[is_wrong]
        column, row = points.long().unbind(1)
        taken = left.taken.clone()
        taken[torch.arange(len(row)), row, column] = True
        return replace(
            left,
            taken=taken,
            points=torch.cat([left.points, points[:, None]], dim=1),
            signs=torch.cat([left.signs, signs[:, None]], dim=1),
        )

    def ask(self, photo: EncodedPhoto, *, wants_alternatives: bool) -> InstanceSet:
        """What the system makes of it."""
        marks = photo.marks(len(self.rows), points=self.points, signs=self.signs)
        prompt = Prompt(marks=marks, logits=self.logits if photo.takes_logits else None)
        return photo.ask(prompt, wants_alternatives=wants_alternatives)

    def answered(self, answers: InstanceSet) -> _Dialogues:
        """These after their answers, in the same order."""
        return replace(self, predicted=dense_masks(answers), logits=answers.mask_logits)


class ClickEvaluator(DatasetEvaluator):
    """mIoU after some clicks, and the number of clicks (NoC) to an overlap, over all objects.

    Every object counts alike. NoC@k is the mean number of clicks until an object's intersection by
    union is k percent or more, K where it never is; ``failures@k`` is the share of these.
    ``oracle@1`` is mIoU after one click where the best of the system's readings is taken.
    """

    def __init__(self, *, num_listed: int | None = None, max_clicks: int = MAX_CLICKS) -> None:
        """Begins with no object.

        Args:
            num_listed: Objects that the dataset lists; those of them that were not seen have no
                pixel, and are reported as ``skipped``. None: nobody counts them.
            max_clicks: K.
        """
        self.num_listed = num_listed
        self.max_clicks = max_clicks
        self.reset()

    def reset(self) -> None:
        self._overlaps: list[npt.NDArray[np.float64]] = []  # [N, K] of every photo
        self._oracle: list[npt.NDArray[np.float64]] = []

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Takes the ``clicks`` of every photo: `ClickedObjects`, or None where it has no object."""
        for output in outputs:
            found = output["clicks"]
            if found is not None:
                self._overlaps.append(found.overlaps.numpy())
                self._oracle.append(found.oracle.numpy())

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """{"clicks": percentages, numbers of clicks and of objects}.

        Raises:
            ValueError: No photo had an object.
        """
        parts = comm.gather((self._overlaps, self._oracle))
        if not comm.is_main_process():
            return None
        overlaps = joined_rows([rows for part in parts for rows in part[0]])
        oracle = joined_rows([rows for part in parts for rows in part[1]])
        shown = [count for count in REPORTED if count <= self.max_clicks]
        results = {f"mIoU@{count}": 100 * float(overlaps[:, count - 1].mean()) for count in shown}
        results["oracle@1"] = 100 * float(oracle.mean())
        results.update(_counted(overlaps))
        return {"clicks": {**results, **counts_of(len(overlaps), self.num_listed)}}


def _counted(overlaps: npt.NDArray[np.float64]) -> Iterator[tuple[str, float]]:
    """Mean clicks to every level, and the percentage of objects that never get there."""
    for level in LEVELS:
        is_reached = overlaps >= level / 100  # [N, K]
        is_ever = is_reached.any(axis=1)
        clicks = np.where(is_ever, is_reached.argmax(axis=1) + 1, overlaps.shape[1])
        yield f"NoC@{level}", float(clicks.mean())
        yield f"failures@{level}", 100 * float(1 - is_ever.mean())

"""Objects whose true boxes are given, and the scores of their masks.

Shapes: N objects, H W photo size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm
from freeseg.evaluation.pointing.clicker import overlap
from freeseg.evaluation.pointing.counts import counts_of, joined_rows
from freeseg.evaluation.pointing.photo import EncodedPhoto, TrueObjects, dense_masks, first_answers
from freeseg.ops import mask_areas
from freeseg.structures import InstanceSet, Prompt

# COCO's sizes of objects: name -> areas in pixels, from the first and below the second
SIZES = {"s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, np.inf)}


@dataclass(frozen=True, eq=False)
class BoxedObjects:
    """The answers about N boxes.

    Attributes:
        instances: Detectron2's, with the true classes and the system's scores.
        overlaps: Float64 [N], intersection by union.
        areas: int64 [N], pixels of the true objects.
    """

    instances: Instances
    overlaps: Tensor
    areas: Tensor


def fill_boxes(
    photo: EncodedPhoto,
    objects: TrueObjects,
    *,
    rounds: int = 1,
    zooms: bool = False,
    objects_at_once: int = 16,
) -> BoxedObjects:
    """Asks for what is in the box of every object.

    Args:
        photo: Encoded by a system that takes boxes; for more than one round also logits.
        objects: Of the photo.
        rounds: The box is said so many times, from the second on with the mask logits of the last
            answer (SAM's paper, appendix D.4: 2).
        zooms: Whether every object is then looked at closer, see `freeseg.inference.zoom`.
        objects_at_once: Asked about together.
    """
    parts = objects.boxes.split(objects_at_once)
    answers = [_answers(photo, boxes, rounds, zooms) for boxes in parts]
    masks = torch.cat([dense_masks(answer) for answer in answers])
    instances = Instances(
        photo.size,
        pred_masks=masks,
        pred_boxes=Boxes(torch.cat([answer.boxes.cpu() for answer in answers])),
        pred_classes=objects.labels,
        scores=torch.cat([answer.scores.cpu() for answer in answers]),
    )
    reached = overlap(objects.masks, masks, objects.ignored)
    return BoxedObjects(instances, reached, mask_areas(objects.masks))


def _answers(photo: EncodedPhoto, boxes: Tensor, rounds: int, zooms: bool) -> InstanceSet:
    marks, logits = photo.marks(len(boxes), boxes=boxes), None
    for _ in range(rounds):
        found = photo.ask(Prompt(marks=marks, logits=logits))
        answers = first_answers(found, len(boxes))
        logits = answers.mask_logits
    return photo.zoom(Prompt(marks=marks), answers) if zooms else answers


class BoxEvaluator(DatasetEvaluator):
    """mIoU and AP of masks in given boxes.

    mIoU is over all objects, every one counting alike, and over those of COCO's sizes. AP is COCO's
    for detections that have the true classes, and the scores that the system gives its masks.
    """

    def __init__(self, precision: DatasetEvaluator, *, num_listed: int | None = None) -> None:
        """Begins with no object.

        Args:
            precision: AP of ``instances``, such as `ThingEvaluator`.
            num_listed: As of `ClickEvaluator`.
        """
        self._precision = precision
        self.num_listed = num_listed
        self.reset()

    def reset(self) -> None:
        self._precision.reset()
        self._rows: list[npt.NDArray[np.float64]] = []  # overlap and area, [N, 2] of every photo

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Takes the ``boxes`` of every photo: `BoxedObjects`, or None where it has no object."""
        for wanted, output in zip(inputs, outputs):
            found = output["boxes"]
            if found is not None:
                self._precision.process([wanted], [{"instances": found.instances}])
                self._rows.append(torch.stack([found.overlaps, found.areas.double()], 1).numpy())

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """{"boxes": percentages and the number of objects}.

        Raises:
            ValueError: No photo had an object.
        """
        parts = comm.gather(self._rows)
        precision = self._precision.evaluate()
        if not comm.is_main_process():
            return None
        rows = joined_rows([rows for part in parts for rows in part])
        values = next(iter(precision.values()))
        counts = counts_of(len(rows), self.num_listed)
        return {"boxes": {**dict(_means(*rows.T)), **values, **counts}}


def _means(
    overlaps: npt.NDArray[np.float64], areas: npt.NDArray[np.float64]
) -> Iterator[tuple[str, float]]:
    """Mean overlaps in percent, of all and of every size; NaN of a size that no object has."""
    yield "mIoU", 100 * float(overlaps.mean())
    for name, (least, most) in SIZES.items():
        chosen = overlaps[(areas >= least) & (areas < most)]
        yield f"mIoU{name}", 100 * float(chosen.mean()) if len(chosen) else float("nan")

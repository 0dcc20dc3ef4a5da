"""How many objects of a photo are among the masks of everything, without being pointed at.

Shapes: N masks, T thresholds, M numbers of proposals.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from freeseg.evaluation.instance import numbers_of_images
from freeseg.evaluation.instance_truth import coco_content
from freeseg.evaluation.pointing.photo import EncodedPhoto
from freeseg.evaluation.truth import Truth
from freeseg.inference.everything import select_instances
from freeseg.structures import EverythingSettings, InstanceSet, Prompt, Runs

NUMBERS = (10, 100, 1000)  # of the best proposals of a photo
SIZES = {"": "all", "s": "small", "m": "medium", "l": "large"}  # ending of a name -> COCO's range


@dataclass(frozen=True, eq=False)
class Proposals:
    """The best masks of everything in a photo.

    Attributes:
        codes: COCO's run-length codes, best first.
        scores: As many.
    """

    codes: tuple[dict[str, Any], ...]
    scores: tuple[float, ...]


def propose(photo: EncodedPhoto, settings: EverythingSettings) -> Proposals:
    """The masks of everything, ranked by the mean of quality and stability (SAM's paper, D.3).

    A system that knows no stabilities is ranked by its qualities, or else its scores.

    Args:
        photo: Encoded by a system that looks for everything.
        settings: How.
    """
    found = photo.ask(Prompt(everything=settings))
    ranks = _ranks(found)
    best = ranks.argsort(descending=True, stable=True)[: max(NUMBERS)]
    chosen = select_instances(found, best.to(found.scores.device))
    return Proposals(tuple(_codes(chosen)), tuple(ranks[best].tolist()))


def _ranks(found: InstanceSet) -> Tensor:
    qualities = (found.scores if found.qualities is None else found.qualities).cpu().double()
    if found.stabilities is None:
        return qualities
    stabilities = found.stabilities.cpu().double().nan_to_num(0)  # of masks without a pixel
    return (qualities + stabilities) / 2


def _codes(found: InstanceSet) -> list[dict[str, Any]]:
    masks = found.masks
    if masks is None:
        raise ValueError("the system proposes boxes alone, average recall of masks needs masks")
    runs = masks if isinstance(masks, Runs) else Runs.of_masks(masks)
    height, width = runs.size
    return [
        rle_codec.frPyObjects({"size": [height, width], "counts": runs.counts(n)}, height, width)
        for n in range(len(runs))
    ]


class ProposalEvaluator(DatasetEvaluator):
    """Average recall (AR) of masks, whatever their class, at 10, 100 and 1000 proposals of a photo.

    COCO's: the share of objects that a proposal overlaps enough, over thresholds from 0.5 to 0.95,
    each proposal serving one object; of all objects, and of COCO's sizes.
    """

    def __init__(self, truth: Truth, *, from_panoptic: bool = False) -> None:
        """Begins with no proposal.

        Args:
            truth: What is compared with; of its classes only things count.
            from_panoptic: As of `ThingEvaluator`.
        """
        self._truth = truth
        self._from_panoptic = from_panoptic
        self._image_ids = numbers_of_images(truth)
        self.reset()

    def reset(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def process(self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Any]) -> None:
        """Takes the ``proposals`` of every photo: `Proposals`, or None where it has no object."""
        for wanted, output in zip(inputs, outputs):
            if output["proposals"] is None:
                continue
            place = {"image_id": self._image_ids[wanted["image_id"]], "category_id": 1}
            codes, scores = output["proposals"].codes, output["proposals"].scores
            self._rows += [
                {**place, "segmentation": code, "score": score}
                for code, score in zip(codes, scores)
            ]

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """{"proposals": percentages and the number of objects}.

        Raises:
            ValueError: No photo has an object.
        """
        parts = comm.gather(self._rows)
        if not comm.is_main_process():
            return None
        truth = self._truth
        content = coco_content(
            truth, truth.things, self._image_ids, from_panoptic=self._from_panoptic
        )
        recall = average_recall(content, [row for part in parts for row in part])
        count = sum(not row["iscrowd"] for row in content["annotations"])
        return {"proposals": {**recall, "objects": float(count)}}


def average_recall(
    content: Mapping[str, Any], proposals: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """AR in percent at every number of proposals, and for sizes; NaN of a size that no object has.

    Args:
        content: A COCO annotation file of masks.
        proposals: COCO's results, of any class.

    Raises:
        ValueError: It has no object but crowds.
    """
    if all(row["iscrowd"] for row in content["annotations"]):
        raise ValueError("no photo of the dataset has an object to propose")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dict(content)
        truth.createIndex()
        found = truth.loadRes(list(proposals)) if proposals else COCO()
        judge = COCOeval(truth, found, "segm")
        judge.params.useCats = 0
        judge.params.maxDets = list(NUMBERS)
        judge.evaluate()
        judge.accumulate()
    recall = judge.eval["recall"][:, 0]  # [T, sizes, M], -1 without objects
    ranges = judge.params.areaRngLbl
    return {
        f"AR{ending}@{number}": 100 * float(values.mean()) if (values >= 0).all() else float("nan")
        for place, number in enumerate(NUMBERS)
        for ending, name in SIZES.items()
        for values in [np.asarray(recall[:, ranges.index(name), place])]
    }

"""Judges what systems find that sentences mean: boxes, and masks where there are any.

Shapes: N sentences of a photo, H W photo size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pycocotools import mask as rle_codec
from torch import Tensor, nn

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from freeseg.catalog import dataset_metadata
from freeseg.data.datasets.referring import REFERRED_KEY, REFERRING
from freeseg.data.segmentation_code import as_runs, drawable
from freeseg.evaluation.pointing.photo import EncodedPhoto
from freeseg.structures import InstanceSet, Prompt, Request, Task
from freeseg.systems import SegmentationSystem

FOUND_KEY = "found"  # of an output: an `InstanceSet`, a row for every sentence
LEVELS = (0.5, 0.7, 0.9)


class Overlap(NamedTuple):
    """Of what is meant and what is found, in pixels."""

    intersection: float
    union: float

    @property
    def share(self) -> float:
        """Intersection by union; 0 of nothing."""
        return self.intersection / self.union if self.union else 0.0


def is_referring(dataset_name: str) -> bool:
    """Whether a dataset has sentences about objects, and nothing else to judge by."""
    return bool(dataset_metadata(dataset_name).get("evaluator_type") == REFERRING)


def sentences_of(record: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str]]:
    """Every sentence about a photo, and the object that it means."""
    return [(meant, text) for meant in record[REFERRED_KEY] for text in meant["sentences"]]


def referring_scores(overlaps: Sequence[Overlap]) -> dict[str, float]:
    """Percentages: sentences whose overlap reaches a level, mean and cumulative overlap.

    The cumulative one divides all intersections by all unions, so that large objects count more.
    """
    shares = [one.share for one in overlaps]
    count = max(len(shares), 1)
    union = sum(one.union for one in overlaps)
    scores = {f"P@{level}": sum(share >= level for share in shares) / count for level in LEVELS}
    scores["mIoU"] = sum(shares) / count
    scores["cIoU"] = sum(one.intersection for one in overlaps) / union if union else 0.0
    return {name: 100 * value for name, value in scores.items()}


class ReferringEvaluator(DatasetEvaluator):
    """Adds up overlaps of boxes, and of masks, sentence by sentence."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._boxes: list[Overlap] = []
        self._masks: list[Overlap] = []

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Compares photos.

        Args:
            inputs: Records with sentences.
            outputs: Each has ``found``, one row for every sentence.
        """
        for record, output in zip(inputs, outputs):
            found: InstanceSet = output[FOUND_KEY]
            for row, (meant, _) in enumerate(sentences_of(record)):
                self._boxes.append(box_overlap(found.boxes[row].tolist(), meant["bbox"]))
                truth = drawable(meant["segmentation"], found.image_size)
                if found.masks is not None and truth is not None:
                    assert isinstance(found.masks, Tensor)
                    self._masks.append(_mask_overlap(found.masks[row], truth))

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """{"referring boxes": percentages, "referring masks": percentages}."""
        parts = comm.gather((self._boxes, self._masks))
        if not comm.is_main_process():
            return None
        boxes, masks = ([one for part in parts for one in part[kind]] for kind in (0, 1))
        results = {f"{REFERRING} boxes": referring_scores(boxes)}
        if masks:
            results[f"{REFERRING} masks"] = referring_scores(masks)
        return results


def box_overlap(found: Sequence[float], meant: Sequence[float]) -> Overlap:
    """Of two boxes, xyxy in pixels."""
    across = max(min(found[2], meant[2]) - max(found[0], meant[0]), 0.0)
    down = max(min(found[3], meant[3]) - max(found[1], meant[1]), 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (found, meant)]
    return Overlap(across * down, sum(areas) - across * down)


def _mask_overlap(found: Tensor, truth: Any) -> Overlap:
    runs = as_runs(truth, (found.shape[0], found.shape[1]))
    meant = torch.from_numpy(rle_codec.decode(runs)).bool()
    found = found.cpu()
    return Overlap(float((found & meant).sum()), float((found | meant).sum()))


class ReferringModel(nn.Module):
    """Asks for what sentences mean, an image encoded once; other photos go to another model."""

    def __init__(self, system: SegmentationSystem[Any], otherwise: nn.Module) -> None:
        """Wraps a system.

        Args:
            system: That takes phrases.
            otherwise: For photos without sentences.

        Raises:
            ValueError: The system does not take phrases.
        """
        super().__init__()
        system.check([Request(0, (Task.OBJECT,), Prompt(phrases=("it",)))])
        self.system = system
        self.otherwise = otherwise

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One result dict per image."""
        return [
            {FOUND_KEY: self._found(x)} if REFERRED_KEY in x else self.otherwise([x])[0]
            for x in batched_inputs
        ]

    def _found(self, x: dict[str, Any]) -> InstanceSet:
        phrases = tuple(text for _, text in sentences_of(x))
        return EncodedPhoto(self.system, x).ask(Prompt(phrases=phrases))


def referring_model(cfg: CfgNode, model: nn.Module, otherwise: nn.Module) -> nn.Module:
    """What is evaluated where a set of DATASETS.TEST has sentences; else `otherwise` itself.

    Raises:
        ValueError: The model does not take phrases.
    """
    if not any(is_referring(name) for name in cfg.DATASETS.TEST):
        return otherwise
    system = getattr(model, "module", model)
    if not isinstance(system, SegmentationSystem):
        raise ValueError(f"{type(system).__name__} is no system that takes phrases")
    return ReferringModel(system, otherwise).eval()

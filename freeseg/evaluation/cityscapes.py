"""Cityscapes' own semantic and instance scores, computed by its package cityscapesscripts.

Detectron2's evaluators of these cannot be used: they import the package from a place where it is
not, and stop with current numpy. Here every process scores the images that it predicts, and only
counts are gathered, so processes need no folder in common.

Shapes: H W image size, K classes, L Cityscapes' label ids.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from freeseg.catalog import dataset_metadata
from freeseg.evaluation.older_numpy import older_numpy

_ADDITIVE = ("tp", "fn", "tpWeighted", "fnWeighted")  # entries of the package's instance counts

Results = dict[str, dict[str, float]]

logger = logging.getLogger(__name__)


def build_cityscapes_evaluators(dataset_name: str, tasks: Sequence[str]) -> list[DatasetEvaluator]:
    """Cityscapes' evaluators of those `tasks` that have one; none, and a log line, without it."""
    own = {"semantic": CityscapesSemanticEvaluator, "instance": CityscapesInstanceEvaluator}
    try:
        return [own[task](dataset_name) for task in tasks if task in own]
    except ImportError as error:
        logger.info(
            "%s: without Cityscapes' own IoU, iIoU and AP, which need the package: "
            "pip install cityscapesscripts (%s)",
            dataset_name,
            error,
        )
        return []


class CityscapesEvaluator(DatasetEvaluator):
    """A script of the package with settings of its own, and where the ground truth lies."""

    def __init__(self, dataset_name: str, script: str) -> None:
        """Imports `script`; the dataset's metadata must have its folder of truth as gt_dir."""
        self._metadata = dataset_metadata(dataset_name)
        self._script: Any = importlib.import_module(f"cityscapesscripts.evaluation.{script}")
        self._settings = copy.copy(self._script.args)

    def _truth_file(self, image: Mapping[str, Any], kind: str) -> str:
        photo = Path(image["file_name"])
        name = f"{_image_id(image)}_gtFine_{kind}.png"
        path = Path(self._metadata.gt_dir) / photo.parent.name / name
        if not path.is_file():
            raise FileNotFoundError(
                f"no ground truth {path}; see Cityscapes under 'Datasets' in the documentation"
            )
        return str(path)

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Lets the script run on current numpy and in silence; where it exits, raises."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), older_numpy(self._script, in1d=np.isin):
                yield
        except SystemExit as stop:
            raise RuntimeError(f"cityscapesscripts: {said.getvalue().strip()}") from stop


class CityscapesSemanticEvaluator(CityscapesEvaluator):
    """IoU and iIoU (every instance weighs as an average one) of classes and of categories."""

    def __init__(self, dataset_name: str) -> None:
        super().__init__(dataset_name, "evalPixelLevelSemanticLabeling")
        classes = self._metadata.stuff_dataset_id_to_contiguous_id
        self._label_ids = np.array(sorted(classes, key=classes.__getitem__), dtype=np.uint8)  # [K]
        self.reset()

    def reset(self) -> None:
        self._confusion = self._script.generateMatrix(self._settings)  # [L, L]
        self._instances = self._script.generateInstanceStats(self._settings)

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        for image, output in zip(inputs, outputs):
            labels = self._label_ids[output["sem_seg"].argmax(0).cpu().numpy()]  # [H, W]
            truth = self._truth_file(image, "labelIds")
            with tempfile.TemporaryDirectory(prefix="cityscapes_") as folder, self._calling():
                prediction = f"{folder}/{_image_id(image)}.png"
                Image.fromarray(labels).save(prediction)
                self._script.evaluatePair(
                    prediction, truth, self._confusion, self._instances, {}, self._settings
                )

    def evaluate(self) -> Results | None:
        """Percent, in the main process; nan for a class that neither truth nor prediction has."""
        parts = comm.gather((self._confusion, self._instances))
        if not comm.is_main_process():
            return None
        confusion = sum(matrix for matrix, _ in parts)  # [L, L]
        instances = _sum_instances([counts for _, counts in parts])
        return {"sem_seg_cityscapes": _percent(self._scores(confusion, instances))}

    def _scores(self, confusion: Any, instances: dict[str, Any]) -> dict[str, float]:
        """Means under Detectron2's names for them, and the values of single classes."""
        script, settings = self._script, self._settings
        ids = {script.id2label[number].name: number for number in self._label_ids.tolist()}
        counts = confusion, instances, settings
        scores = {
            "IoU": {
                name: script.getIouScoreForLabel(number, confusion, settings)
                for name, number in ids.items()
            },
            "iIoU": {
                name: script.getInstanceIouScoreForLabel(ids[name], *counts)
                for name in instances["classes"]
            },
            "IoU_sup": {
                name: script.getIouScoreForCategory(name, confusion, settings)
                for name in script.category2labels
            },
            "iIoU_sup": {
                name: script.getInstanceIouScoreForCategory(name, *counts)
                for name in instances["categories"]
            },
        }
        means = {key: script.getScoreAverage(values, settings) for key, values in scores.items()}
        single = {
            f"{key}-{name}": scores[key][name] for key in ("IoU", "iIoU") for name in scores[key]
        }
        return {**means, **single}


class CityscapesInstanceEvaluator(CityscapesEvaluator):
    """Cityscapes' AP over overlaps from 0.5 to 0.95: not COCO's matching, nor its integral."""

    def __init__(self, dataset_name: str) -> None:
        super().__init__(dataset_name, "evalInstanceLevelSemanticLabeling")
        things = self._metadata.thing_dataset_id_to_contiguous_id
        self._label_ids = {number: label_id for label_id, number in things.items()}
        self._script.setInstanceLabels(self._settings)
        self.reset()

    def reset(self) -> None:
        self._matches: dict[str, dict[str, Any]] = {}

    def process(self, inputs: Sequence[dict[str, Any]], outputs: Sequence[dict[str, Any]]) -> None:
        script, settings = self._script, self._settings
        for image, output in zip(inputs, outputs):
            truth = self._truth_file(image, "instanceIds")
            with tempfile.TemporaryDirectory(prefix="cityscapes_") as folder, self._calling():
                predictions = self._write_masks(output["instances"], folder)
                (true_instances,) = script.instances2dict([truth]).values()
                found, predicted = script.assignGt2Preds(
                    script.filterGtInstances(true_instances, settings),
                    script.readGTImage(truth, settings),
                    predictions,
                    settings,
                )
            self._matches[_image_id(image)] = {"groundTruth": found, "prediction": predicted}

    def evaluate(self) -> Results | None:
        """Percent, in the main process; nan for a class without ground truth."""
        parts = comm.gather(self._matches)
        if not comm.is_main_process():
            return None
        matches = {key: value for part in parts for key, value in part.items()}
        precisions = self._script.evaluateMatches(matches, self._settings)
        averages = self._script.computeAverages(precisions, self._settings)
        scores = {"AP": averages["allAp"], "AP50": averages["allAp50%"]}
        for name, values in averages["classes"].items():
            scores.update({f"AP-{name}": values["ap"], f"AP50-{name}": values["ap50%"]})
        return {"segm_cityscapes": _percent(scores)}

    def _write_masks(self, instances: Any, folder: str) -> dict[str, dict[str, Any]]:
        """Label id and score of every predicted thing by the PNG of its mask."""
        rows = zip(instances.pred_masks, instances.pred_classes.tolist(), instances.scores.tolist())
        written = {}
        for index, (mask, number, score) in enumerate(rows):
            if number in self._label_ids:  # a universal model may predict stuff too
                path = f"{folder}/{index}.png"
                Image.fromarray(mask.bool().cpu().numpy()).save(path)
                written[path] = {"labelID": self._label_ids[number], "conf": score}
        return written


def _image_id(image: Mapping[str, Any]) -> str:
    return Path(image["file_name"]).stem.removesuffix("_leftImg8bit")


def _sum_instances(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Instance counts {"classes" or "categories": {name: counts}} of all processes."""
    total = copy.deepcopy(parts[0])
    for part in parts[1:]:
        for group, members in part.items():
            for name, counts in members.items():
                for key in _ADDITIVE:
                    total[group][name][key] += counts[key]
    return total


def _percent(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * float(score) for name, score in scores.items()}

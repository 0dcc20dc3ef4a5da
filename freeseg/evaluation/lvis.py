"""LVIS's federated average precision, computed by its package lvis.

Of a class, images count where it is marked or where somebody has looked for it; found objects of
other classes are nothing there. In images whose marks of a class are incomplete, what is found
beside them is not wrong.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from freeseg.catalog import dataset_metadata
from freeseg.data.coco_writer import write_json
from freeseg.data.datasets.lvis import FREQUENCY_KEY, LVIS, NEGATIVE_KEY, UNFINISHED_KEY
from freeseg.evaluation.instance import ThingEvaluator
from freeseg.evaluation.older_numpy import older_numpy
from freeseg.evaluation.truth import Truth

LVIS_LIMIT = 300  # detections of a photo that AP counts
FIXED_LIMIT = 10_000  # detections of a class that AP_fixed counts, whatever their photos
PART = 100  # classes that are evaluated at once
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")
FIXED = "_fixed"  # at the end of the metrics' names

Row = dict[str, Any]

logger = logging.getLogger(__name__)


class MissingPackageError(ImportError):
    """The package lvis is not there; the message says how to install it."""

    is_about_data = True  # see `freeseg_command.messages.exit_code_of`


def is_lvis_set(dataset_name: str) -> bool:
    """Whether a dataset is judged as LVIS is."""
    return bool(dataset_metadata(dataset_name).get("evaluator_type") == LVIS)


class LVISEvaluator(ThingEvaluator):
    """LVIS AP of boxes, masks or both; with 300 detections of a photo, and with 10,000 of a class.

    The first is the AP of LVIS's challenges; the second ("AP_fixed") that of Dave et al.,
    "Evaluating Large-Vocabulary Object Detectors" (arXiv 2102.01066), which does not depend on how
    scores of classes compare in a photo, and which papers about open vocabularies report. It counts
    all that the model gives of a photo.
    """

    usual_limit = LVIS_LIMIT

    def __init__(self, truth: Truth, folder: Path, *, kinds: Sequence[str] = ("segm",)) -> None:
        """Evaluates.

        Args:
            truth: Of a dataset whose records say what is verified, see
                `freeseg.data.datasets.lvis`.
            folder: For predictions and ground truth.
            kinds: Of AP: "segm", "bbox" or both.

        Raises:
            MissingPackageError: There is no package lvis.
            ValueError: The dataset does not say what is verified, or how frequent classes are.
        """
        self._package = lvis_package()
        self._frequencies = _frequencies(truth)
        super().__init__(truth, folder, kinds=kinds, limit=LVIS_LIMIT)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        """Percent by "bbox_lvis" and "segm_lvis", in the main process; nan where nothing counts."""
        results = super().evaluate(*arguments, **options)
        return results and {f"{kind}_lvis": values for kind, values in results.items()}

    def _content(self, truth: Truth, things: Sequence[int], from_panoptic: bool) -> dict[str, Any]:
        """COCO's form, and what LVIS's has beyond it."""
        content = super()._content(truth, things, from_panoptic)
        records = {self._image_ids[record["image_id"]]: record for record in truth.records}
        for image in content["images"]:
            record = records[image["id"]]
            image.update({key: record[key] for key in (NEGATIVE_KEY, UNFINISHED_KEY)})
        for category in content["categories"]:
            category["frequency"] = self._frequencies[category["id"]]
        for row in content["annotations"]:
            row["ignore"] = row["iscrowd"]
        return content

    def _eval_predictions(self, predictions: Sequence[Row], img_ids: Any = None) -> None:
        """In the place of Detectron2's: scores all detections, into `self._results`."""
        ids = self._metadata.thing_dataset_id_to_contiguous_id
        dataset_ids = {number: dataset_id for dataset_id, number in ids.items()}
        found = [
            {**row, "category_id": dataset_ids[row["category_id"]]}
            for prediction in predictions
            for row in prediction["instances"]
        ]
        write_json(Path(self._output_dir) / "coco_instances_results.json", found)
        nothing = {f"{name}{end}": math.nan for end in ("", FIXED) for name in METRICS}
        self._results = {kind: dict(nothing) for kind in sorted(self._kinds)}
        if not found:
            logger.warning("no predictions from the model")
            return
        with self._calling() as package:
            truth = package.LVIS(self._metadata.json_file)
            for kind, values in self._results.items():
                rows = of_kind(found, kind)
                values.update(_scores(package, truth, rows, kind, LVIS_LIMIT))
                fixed = _scores(package, truth, best_of_classes(rows, FIXED_LIMIT), kind, -1)
                values.update({f"{name}{FIXED}": value for name, value in fixed.items()})

    @contextlib.contextmanager
    def _calling(self) -> Iterator[Any]:
        """Lets the package run on current numpy, and in silence."""
        script: Any = importlib.import_module("lvis.eval")
        log = logging.getLogger("lvis")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            with older_numpy(script, float=float):
                yield self._package
        finally:
            log.setLevel(level)


def of_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    """Detections with masks or boxes alone: the package's areas are of what it finds."""
    left_out = "bbox" if kind == "segm" else "segmentation"
    return [{key: value for key, value in row.items() if key != left_out} for row in rows]


def best_of_classes(rows: Sequence[Row], limit: int) -> list[Row]:
    """Of every class the detections with the highest scores, at most `limit`."""
    by_class: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_class[row["category_id"]].append(row)
    return [
        row
        for some in by_class.values()
        for row in sorted(some, key=lambda one: -one["score"])[:limit]
    ]


def lvis_package() -> ModuleType:
    """The package lvis; the logging that it configures when it is imported stays as it was.

    Raises:
        MissingPackageError: It is not there.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        return importlib.import_module("lvis")
    except ImportError as error:
        raise MissingPackageError(
            f"LVIS's AP needs the package lvis: pip install 'freeseg[lvis]' ({error})"
        ) from error
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _scores(
    package: Any, truth: Any, rows: Sequence[Row], kind: str, limit: int
) -> dict[str, float]:
    """Percent, nan where no class counts.

    The package keeps a row for every pair of a photo and a class, 20 GB of LVIS's val: it is given
    some classes after others.

    Args:
        package: The package lvis.
        truth: Its reader of the ground truth.
        rows: Detections.
        kind: Of AP.
        limit: Detections of a photo that count; -1: all.
    """
    results = package.LVISResults(truth, [dict(row) for row in rows], max_dets=limit)
    whole = package.LVISEval(truth, results, kind)
    classes = whole.params.cat_ids
    parts = []
    for first in range(0, len(classes), PART):
        part = package.LVISEval(truth, results, kind)
        part.params.cat_ids = classes[first : first + PART]
        part.evaluate()
        part.accumulate()
        parts.append(part.eval)
    # precision of thresholds, recalls, classes and sizes; recall without recalls
    whole.eval = {
        name: np.concatenate([part[name] for part in parts], axis=axis)
        for name, axis in (("precision", 2), ("recall", 1))
    }
    whole.freq_groups = whole._prepare_freq_group()
    whole.summarize()
    found: Mapping[str, float] = whole.get_results()
    return {name: 100 * float(found[name]) if found[name] >= 0 else math.nan for name in METRICS}


def _frequencies(truth: Truth) -> Mapping[int, str]:
    """The frequency of every class of a dataset, by the dataset's ids.

    Raises:
        ValueError: The dataset lacks something that LVIS's AP needs.
    """
    frequencies: Mapping[int, str] = dataset_metadata(truth.name).get(FREQUENCY_KEY) or {}
    missing = [
        truth.vocabulary.names[label]
        for label in truth.things
        if truth.category_ids[label] not in frequencies
    ]
    if missing:
        raise ValueError(
            f"dataset {truth.name} is judged as LVIS's, so its metadata need {FREQUENCY_KEY}, "
            f"r, c or f by category id; that of {missing[0]!r} is missing"
        )
    for record in truth.records:
        for key in (NEGATIVE_KEY, UNFINISHED_KEY):
            if key not in record:
                raise ValueError(
                    f"dataset {truth.name} is judged as LVIS's, so its records need {key!r}; that "
                    f"of {record['file_name']} has none"
                )
    return frequencies

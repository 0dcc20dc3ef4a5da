"""Picks Detectron2's evaluators for a dataset."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator, DatasetEvaluator
from freeseg.config import default_tasks, test_node
from freeseg.data.datasets.custom import register_custom
from freeseg.evaluation.cityscapes import build_cityscapes_evaluators
from freeseg.evaluation.instance import ThingEvaluator
from freeseg.evaluation.seen_unseen import (
    SeenUnseen,
    SeenUnseenEvaluator,
    SeenUnseenPanopticEvaluator,
)
from freeseg.evaluation.semantic import build_semantic_evaluator
from freeseg.structures import TASKS

# metadata.evaluator_type -> tasks that the ground truth can judge, by the same three evaluators for
# all datasets. Cityscapes' own scores come beside them, not in their place.
TASKS_OF_TYPE: dict[str, Sequence[str]] = {
    "coco_panoptic_seg": TASKS,
    "ade20k_panoptic_seg": TASKS,
    "cityscapes_panoptic_seg": TASKS,
    "mapillary_vistas_panoptic_seg": TASKS,
    "sem_seg": ("semantic",),
    "cityscapes_sem_seg": ("semantic",),
    "coco": ("instance",),
    "cityscapes_instance": ("instance",),
}


def build_evaluators(
    cfg: Any, dataset_name: str, output_folder: str | os.PathLike[str] | None = None
) -> list[DatasetEvaluator]:
    """Evaluators for the tasks that the model is asked for and the dataset can judge.

    Where the dataset's metadata flags classes as seen and unseen, both have their own results,
    unless TEST.SEEN_UNSEEN is off.

    Args:
        cfg: a config with the freeseg keys.
        dataset_name: a registered dataset.
        output_folder: for predictions; default OUTPUT_DIR/inference/dataset_name.
    """
    register_custom(cfg.DATASETS.CUSTOM)
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if kind not in TASKS_OF_TYPE:
        raise NotImplementedError(
            f"dataset {dataset_name} has evaluator_type {kind!r}; "
            f"known types are {', '.join(TASKS_OF_TYPE)}"
        )
    tasks = default_tasks(cfg)
    wanted = [task for task in TASKS_OF_TYPE[kind] if task in tasks]
    if not wanted:
        raise ValueError(
            f"dataset {dataset_name} can evaluate {', '.join(TASKS_OF_TYPE[kind])}, but "
            f"the configuration's TEST has only {', '.join(tasks) or 'nothing'} on"
        )
    folder = Path(output_folder or Path(cfg.OUTPUT_DIR) / "inference" / dataset_name)
    build: dict[str, Callable[[str, Path], DatasetEvaluator]] = {
        "semantic": build_semantic_evaluator,
        "instance": functools.partial(
            ThingEvaluator, with_boxes=test_node(cfg).get("DETECTION_ON", False)
        ),
        "panoptic": _build_panoptic_evaluator,
    }
    evaluators = [build[task](dataset_name, folder) for task in wanted]
    if "instance" in wanted and cfg.TEST.PANOPTIC_INSTANCES:
        evaluators.append(ThingEvaluator(dataset_name, folder / "panoptic", from_panoptic=True))
    classes = SeenUnseen.of(dataset_name) if cfg.TEST.SEEN_UNSEEN else None
    if classes is not None:
        evaluators = [
            SeenUnseenPanopticEvaluator(dataset_name, folder, classes)
            if isinstance(evaluator, COCOPanopticEvaluator)
            else SeenUnseenEvaluator(evaluator, classes)
            for evaluator in evaluators
        ]
    if kind.startswith("cityscapes_"):
        evaluators += build_cityscapes_evaluators(dataset_name, wanted)
    return evaluators


def _build_panoptic_evaluator(dataset_name: str, folder: Path) -> DatasetEvaluator:
    return COCOPanopticEvaluator(dataset_name, str(folder))

"""Picks Detectron2's evaluators for a dataset."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from freeseg.catalog import dataset_metadata, dataset_names
from freeseg.classes import evaluated_tasks, has_masks
from freeseg.config import completed, inference_section
from freeseg.data.datasets.clips import CLIPS
from freeseg.data.datasets.custom import register_custom
from freeseg.data.datasets.edges import EDGES
from freeseg.data.datasets.lvis import LVIS
from freeseg.data.datasets.referring import REFERRING
from freeseg.data.records import dataset_records
from freeseg.evaluation.cityscapes import build_cityscapes_evaluators
from freeseg.evaluation.clips import ClipEvaluator, has_clips
from freeseg.evaluation.edges import EdgeEvaluator, has_edges
from freeseg.evaluation.episodes import episode_evaluator, episode_settings
from freeseg.evaluation.instance import COCO_LIMIT, ThingEvaluator
from freeseg.evaluation.lvis import LVIS_LIMIT, LVISEvaluator, is_lvis_set
from freeseg.evaluation.panoptic_evaluator import PanopticEvaluator
from freeseg.evaluation.pointing import (
    BoxEvaluator,
    ClickEvaluator,
    PointingSettings,
    ProposalEvaluator,
    listed_objects,
    pointing_settings,
)
from freeseg.evaluation.referring import ReferringEvaluator, is_referring
from freeseg.evaluation.seen_unseen import (
    SeenUnseen,
    SeenUnseenEvaluator,
    SeenUnseenPanopticEvaluator,
)
from freeseg.evaluation.semantic import SemanticEvaluator
from freeseg.evaluation.truth import Truth
from freeseg.structures import JUDGED_TASKS

OBJECTS_TASK = "instance"  # whose truth has the objects that are pointed at

logger = logging.getLogger(__name__)

# metadata.evaluator_type -> tasks that the ground truth can judge, by the same three evaluators for
# all datasets. Cityscapes' own scores come beside them, not in their place.
TASKS_OF_TYPE: dict[str, Sequence[str]] = {
    "coco_panoptic_seg": JUDGED_TASKS,
    "ade20k_panoptic_seg": JUDGED_TASKS,
    "cityscapes_panoptic_seg": JUDGED_TASKS,
    "mapillary_vistas_panoptic_seg": JUDGED_TASKS,
    "sem_seg": ("semantic",),
    "cityscapes_sem_seg": ("semantic",),
    "coco": ("instance",),
    "cityscapes_instance": ("instance",),
    LVIS: ("instance",),
    **dict.fromkeys((CLIPS, EDGES, REFERRING), ()),  # judged by what is found without a task
}


def build_evaluators(
    cfg: Any, dataset_name: str, output_folder: str | os.PathLike[str] | None = None
) -> list[DatasetEvaluator]:
    """Evaluators for the tasks that the model is asked for and the dataset can judge.

    Those of a system that knows no classes are of TEST.POINTING, for `ObjectPointing`. Where the
    dataset's metadata flags classes as seen and unseen, both have their own results,
    unless TEST.SEEN_UNSEEN is off.

    Args:
        cfg: a config with the freeseg keys.
        dataset_name: a registered dataset.
        output_folder: for predictions; default OUTPUT_DIR/inference/dataset_name.
    """
    cfg = completed(cfg)
    register_custom(cfg.DATASETS.CUSTOM)
    if has_edges(dataset_name):
        return [EdgeEvaluator(cfg.TEST.EDGES.THRESHOLDS)]
    if is_referring(dataset_name):
        return [ReferringEvaluator()]
    folder = Path(output_folder or Path(cfg.OUTPUT_DIR) / "inference" / dataset_name)
    if has_clips(dataset_name):
        return [ClipEvaluator(folder)]
    episodes = episode_settings(cfg)
    if episodes is not None:
        return [episode_evaluator(episodes, cfg, dataset_name)]
    wanted = wanted_tasks(cfg, dataset_name)
    truth = Truth.of(cfg, dataset_name)
    settings = pointing_settings(cfg)
    if settings is not None:
        return _pointing_evaluators(settings, cfg, truth, folder)
    classes = SeenUnseen.of(truth.vocabulary) if cfg.TEST.SEEN_UNSEEN else None
    evaluators = [
        evaluator
        if classes is None or isinstance(evaluator, PanopticEvaluator)
        else SeenUnseenEvaluator(evaluator, classes)
        for task in wanted
        for evaluator in _evaluators_of(task, cfg, truth, folder, classes)
    ]
    if _has_cityscapes_files(dataset_name) and not truth.is_renumbered:
        evaluators += build_cityscapes_evaluators(dataset_name, wanted)
    return evaluators


def _evaluators_of(
    task: str, cfg: Any, truth: Truth, folder: Path, classes: SeenUnseen | None
) -> list[DatasetEvaluator]:
    if task == "semantic":
        return [SemanticEvaluator(truth, folder)]
    if task == "panoptic":
        if classes is not None:
            return [SeenUnseenPanopticEvaluator(truth, folder, classes)]
        return [PanopticEvaluator(truth, folder)]
    if not truth.things:
        logger.warning("dataset %s lists no things that the model knows: without AP", truth.name)
        return []
    kinds = _kinds_of_precision(cfg)
    if is_lvis_set(truth.name):
        _warn_of_few_detections(truth.name, cfg.TEST.DETECTIONS_PER_IMAGE)
        return [LVISEvaluator(truth, folder, kinds=kinds)]
    limit = max(COCO_LIMIT, cfg.TEST.DETECTIONS_PER_IMAGE)
    evaluators = [ThingEvaluator(truth, folder, kinds=kinds, limit=limit)]
    if cfg.TEST.PANOPTIC_INSTANCES and "segm" in kinds:
        panoptic = folder / "panoptic"
        evaluators.append(ThingEvaluator(truth, panoptic, from_panoptic=True, limit=limit))
    return evaluators


def _warn_of_few_detections(name: str, number: int) -> None:
    if number < LVIS_LIMIT:
        logger.warning(
            "%s: LVIS's AP counts %d detections of a photo, TEST.DETECTIONS_PER_IMAGE is %d",
            name,
            LVIS_LIMIT,
            number,
        )


def _kinds_of_precision(cfg: Any) -> tuple[str, ...]:
    """What COCO's AP is of: masks, and boxes where DETECTION_ON asks for them or that is all."""
    if not has_masks(cfg):
        return ("bbox",)
    return ("bbox", "segm") if inference_section(cfg).get("DETECTION_ON", False) else ("segm",)


def _pointing_evaluators(
    settings: PointingSettings, cfg: Any, truth: Truth, folder: Path
) -> list[DatasetEvaluator]:
    """Those of a system that is pointed at the objects of a dataset, whatever their classes."""
    if not truth.things:
        raise ValueError(f"dataset {truth.name} lists no things: there are no objects to point at")
    listed = listed_objects(truth.records)
    from_panoptic = any("pan_seg_file_name" in record for record in truth.records)

    def precision() -> ThingEvaluator:
        limit = max(COCO_LIMIT, cfg.TEST.DETECTIONS_PER_IMAGE)
        return ThingEvaluator(truth, folder, from_panoptic=from_panoptic, limit=limit)

    builders: dict[str, Callable[[], DatasetEvaluator]] = {
        "clicks": lambda: ClickEvaluator(num_listed=listed, max_clicks=settings.max_clicks),
        "boxes": lambda: BoxEvaluator(precision(), num_listed=listed),
        "proposals": lambda: ProposalEvaluator(truth, from_panoptic=from_panoptic),
    }
    return [builders[kind]() for kind in settings.kinds]


def truth_task(cfg: Any, dataset_name: str) -> str:
    """The task whose truth test inputs need, see `freeseg.data.build_test_loader`; "": none."""
    is_pointed = pointing_settings(cfg) is not None and not _has_no_task(dataset_name)
    return OBJECTS_TASK if is_pointed else ""


def _has_no_task(dataset_name: str) -> bool:
    """Whether a dataset is judged by what is found without a task."""
    return any(judge(dataset_name) for judge in (has_edges, is_referring, has_clips))


def wanted_tasks(cfg: Any, dataset_name: str) -> list[str]:
    """Tasks that the configuration has on and the dataset can judge.

    What is on and cannot be judged is said in a line. A system that knows no classes is pointed at
    the objects of instance annotation.

    Raises:
        ValueError: There is none.
    """
    judged = judges(dataset_name)
    if _has_no_task(dataset_name) or episode_settings(cfg) is not None:
        return []
    if pointing_settings(cfg) is not None:
        if OBJECTS_TASK not in judged:
            raise ValueError(
                f"dataset {dataset_name} has {', '.join(judged)} annotation: there are no objects "
                "to point at"
            )
        return [OBJECTS_TASK]
    tasks = evaluated_tasks(cfg)
    wanted = [task for task in judged if task in tasks]
    if not wanted:
        raise ValueError(
            f"dataset {dataset_name} can evaluate {', '.join(judged)}, but "
            f"the configuration's TEST has only {', '.join(tasks) or 'nothing'} on"
        )
    left_out = [task for task in tasks if task not in judged]
    if left_out:
        logger.info(
            "dataset %s has no %s annotation: that is not evaluated",
            dataset_name,
            " and no ".join(left_out),
        )
    return wanted


def judges(dataset_name: str) -> Sequence[str]:
    """Tasks that the dataset has ground truth of, by its evaluator_type, else by its records.

    Raises:
        NotImplementedError: Its evaluator_type is unknown, or its records have no annotation.
    """
    kind = dataset_metadata(dataset_name).get("evaluator_type")
    if kind is None:
        kind = _kind_of_records(dataset_name)
    if kind not in TASKS_OF_TYPE:
        raise NotImplementedError(
            f"dataset {dataset_name} has evaluator_type {kind!r}; "
            f"known types are {', '.join(TASKS_OF_TYPE)}"
        )
    return TASKS_OF_TYPE[kind]


def _kind_of_records(dataset_name: str) -> str | None:
    kinds = {
        "pan_seg_file_name": "coco_panoptic_seg",
        "annotations": "coco",
        "sem_seg_file_name": "sem_seg",
    }
    if dataset_name not in dataset_names():
        return None
    first: dict[str, Any] = next(iter(dataset_records(dataset_name)), {})
    return next((kind for key, kind in kinds.items() if key in first), None)


def _has_cityscapes_files(dataset_name: str) -> bool:
    kind = dataset_metadata(dataset_name).get("evaluator_type") or ""
    return kind.startswith("cityscapes_")

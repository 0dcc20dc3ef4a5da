"""Checks datasets before anything is computed: all that is wrong with them, in one list."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from detectron2.utils import comm
from freeseg.catalog import dataset_vocabulary
from freeseg.classes import (
    config_takes_classes,
    fill_num_classes,
    fixed_vocabulary,
    has_masks,
    refuse_shared_texts,
    training_vocabularies,
)
from freeseg.config import completed, system_section, training_tasks
from freeseg.data import register_custom
from freeseg.data.boxes import NAME as BOXES
from freeseg.data.check import CheckSettings, DatasetSummary, check_dataset
from freeseg.data.datasets.own_loader import check_metadata
from freeseg.data.loader import check_training_classes
from freeseg.data.mapper import PER_BATCH, PUBLISHED_MAPPERS
from freeseg.data.problems import DataError, Problems
from freeseg.data.records import match_or_refuse
from freeseg.evaluation import wanted_tasks
from freeseg.evaluation.truth import UNKNOWN_REMEDY
from freeseg.names import plain_name
from freeseg.structures import JUDGED_TASKS

_WITH_QUERIES = ("Mask2Former", "MaskFormer", "OneFormer", "FreeSeg", "OpenVocabulary")

logger = logging.getLogger(__name__)


def check_datasets(cfg: Any, *, is_training: bool = True) -> None:
    """Looks at the training and the test sets of a job before its first step.

    The main process looks; warnings are logged.

    Args:
        cfg: A configuration with the freeseg keys.
        is_training: False leaves the training sets out.

    Raises:
        DataError: In every process, with a line for each problem.
        MissingDataError: A dataset is not here.
    """
    cfg = completed(cfg)
    lines: list[str] = []
    fault: Exception | None = None
    if comm.is_main_process():
        try:
            lines = _problems_of(cfg, is_training)
        except Exception as error:  # the others wait to hear of it
            fault, lines = error, [str(error)]
    lines = comm.all_gather(lines)[0]
    if fault is not None:
        raise fault
    if lines:
        raise DataError(lines)


def _problems_of(cfg: Any, is_training: bool) -> list[str]:
    problems = Problems()
    with problems.collecting("classes"):
        register_custom(cfg.DATASETS.CUSTOM)
    if not problems.errors:
        check_all(cfg, problems, is_training=is_training)
    for line in problems.warnings:
        logger.warning(line)
    return problems.errors


def check_all(
    cfg: Any, problems: Problems, *, is_training: bool = True, names: Sequence[str] = ()
) -> list[DatasetSummary]:
    """Collects what is wrong with a job's datasets, or with those that are named.

    Args:
        cfg: A configuration with the freeseg keys; its DATASETS.CUSTOM is registered.
        problems: Gets what is wrong.
        is_training: Whether its training sets are used.
        names: Of datasets; default: all that the job uses.

    Returns:
        What each set holds.

    Raises:
        MissingDataError: A dataset is not here.
    """
    train = cfg.DATASETS.TRAIN if is_training else ()
    chosen = list(dict.fromkeys(names or (*train, *cfg.DATASETS.TEST)))
    for name in chosen:
        check_metadata(name, problems)
    if problems.errors:
        return []
    if is_training:
        with problems.collecting("classes"):
            fill_num_classes(cfg.clone())
            check_training_classes(cfg)
    if config_takes_classes(cfg):
        _check_texts(cfg, chosen, problems)
    for name in cfg.DATASETS.TEST:
        with problems.collecting("evaluation"):
            _check_evaluation(cfg, name, problems)
    if not cfg.DATASETS.CHECK:
        return []
    summaries = [check_dataset(name, _settings(cfg, name, train), problems) for name in chosen]
    if is_training and not names:
        _warn_of_shared_photos(cfg, summaries, problems)
    return summaries


def _check_texts(cfg: Any, names: Sequence[str], problems: Problems) -> None:
    """Refuses classes that a system that reads texts cannot tell apart."""
    lists = {name: dataset_vocabulary(name) for name in names}
    for source, classes in {**lists, **training_vocabularies(cfg)}.items():
        if classes is not None:
            with problems.collecting("texts of classes"):
                refuse_shared_texts(classes, source or cfg.MODEL.CLASSES)


def _warn_of_shared_photos(
    cfg: Any, summaries: Sequence[DatasetSummary], problems: Problems
) -> None:
    """Says which test sets have photos that are trained on, unless a set serves for both."""
    photos = {one.name: one.photos for one in summaries}
    trained = set().union(*(photos[name] for name in cfg.DATASETS.TRAIN))
    for name in cfg.DATASETS.TEST:
        shared = photos[name] & trained
        if shared and name not in cfg.DATASETS.TRAIN:
            problems.warn(
                "photos to train and to test on",
                f"{name}: {len(shared)} of {len(photos[name])} photos are trained on as well, "
                f"such as {min(shared)}: results of them say little",
            )


def _check_evaluation(cfg: Any, name: str, problems: Problems) -> None:
    """Refuses a test set that cannot be judged, or whose classes the model does not know."""
    try:
        wanted_tasks(cfg, name)
    except DataError:
        if cfg.DATASETS.CHECK:
            return  # the check of its records says it
        raise
    known = fixed_vocabulary(cfg)
    listed = dataset_vocabulary(name)
    if known is not None and listed is not None:
        ignores = cfg.DATASETS.IGNORE_UNKNOWN
        match = match_or_refuse(name, listed, known, UNKNOWN_REMEDY, ignores_unknown=ignores)
        if match.unknown:
            problems.warn(
                "unknown classes",
                f"{name}: the model does not know {', '.join(match.unknown)}: left out",
            )


def _settings(cfg: Any, name: str, train: Sequence[str]) -> CheckSettings:
    section = system_section(cfg)
    key = "ONE_FORMER" if section is cfg.MODEL.ONE_FORMER else "MASK_FORMER"
    has_queries = plain_name(cfg.MODEL.META_ARCHITECTURE) in _WITH_QUERIES
    return CheckSettings(
        is_test=name in cfg.DATASETS.TEST,
        is_train=name in train or name not in cfg.DATASETS.TEST,
        merge_twins=cfg.DATASETS.MERGE_TWINS,
        frame=cfg.INPUT.EXIF,
        white_level=cfg.INPUT.WHITE_LEVEL,
        max_objects=section.NUM_OBJECT_QUERIES if has_queries else 0,
        max_objects_key=f"MODEL.{key}.NUM_OBJECT_QUERIES",
        tasks=_tasks(cfg, name, train),
        needs_masks=has_masks(cfg) or (name in train and cfg.INPUT.DATASET_MAPPER_NAME != BOXES),
    )


def _tasks(cfg: Any, name: str, train: Sequence[str]) -> tuple[str, ...]:
    """Tasks that a dataset must have truth for in every record."""
    tasks: list[str] = []
    if name in train and cfg.INPUT.DATASET_MAPPER_NAME in PUBLISHED_MAPPERS:
        task = cfg.INPUT.TASK or PUBLISHED_MAPPERS[cfg.INPUT.DATASET_MAPPER_NAME][0]
        tasks += (
            training_tasks(cfg) if task == PER_BATCH else [task] if task in JUDGED_TASKS else []
        )
    if name in cfg.DATASETS.TEST:
        with contextlib.suppress(ValueError, NotImplementedError):  # said for itself
            tasks += wanted_tasks(cfg, name)
    return tuple(dict.fromkeys(tasks))

"""The metric that TEST.BEST_METRIC means: by which the best model of a training is kept."""

from __future__ import annotations

from typing import Any

from freeseg.classes import evaluated_tasks, has_masks
from freeseg.config import completed, inference_section
from freeseg.evaluation.builder import judges
from freeseg.evaluation.lvis import FIXED, METRICS, is_lvis_set
from freeseg.evaluation.pointing import pointing_settings
from freeseg.evaluation.pointing.clicks import REPORTED
from freeseg.evaluation.pointing.proposals import NUMBERS
from freeseg.evaluation.pointing.proposals import SIZES as PROPOSAL_SIZES

AUTO = "auto"
# Task -> group of its results and the names in it, the main one first; tasks by what they tell.
_METRICS = {
    "panoptic": (
        "panoptic_seg",
        tuple(f"{metric}{part}" for part in ("", "_th", "_st") for metric in ("PQ", "SQ", "RQ")),
    ),
    "instance": ("segm", ("AP", "AP50", "AP75", "APs", "APm", "APl")),
    "semantic": ("sem_seg", ("mIoU", "fwIoU", "mACC", "pACC")),
}
# protocol of TEST.POINTING -> the names in it, likewise
_POINTING = {
    "clicks": ("mIoU@1", *(f"mIoU@{count}" for count in REPORTED[1:]), "oracle@1"),
    "boxes": ("mIoU", "mIoUs", "mIoUm", "mIoUl", "AP", "AP50", "AP75", "APs", "APm", "APl"),
    "proposals": tuple(
        f"AR{size}@{number}" for number in reversed(NUMBERS) for size in PROPOSAL_SIZES
    ),
}
_LESS_IS_BETTER = ("NoC@", "failures@")
_SEEN_UNSEEN = ("hPQ", "hAP", "hIoU")  # beside the names that end in _seen and _unseen


def best_metric(cfg: Any) -> str:
    """The name under which the metric is among the results; "" where none is asked for or judged.

    "auto" is the main metric of the first task, of panoptic, instance and semantic, that the first
    test set judges and the configuration has on; of a system that knows no classes, that of the
    first of TEST.POINTING.KINDS. Results of several sets are kept by name: a
    metric without one is the first set's.
    """
    cfg = completed(cfg)
    metric, names = cfg.TEST.BEST_METRIC, cfg.DATASETS.TEST
    if not metric or not names:
        return ""
    dataset, metric = _dataset_and_metric(cfg)
    if metric == AUTO:
        known = _known_metrics(cfg, dataset)
        metric = next((f"{group}/{names[0]}" for group, names in known.items()), "")
    return f"{dataset}/{metric}" if metric and len(names) > 1 else metric


def require_known_metric(cfg: Any) -> None:
    """Refuses a metric that no evaluator of the package gives for this configuration.

    Raises:
        ValueError: It names those that there are.
    """
    cfg = completed(cfg)
    if not best_metric(cfg):
        return
    dataset, metric = _dataset_and_metric(cfg)
    group, _, name = metric.partition("/")
    known = _known_metrics(cfg, dataset)
    if metric == AUTO or not known or group.endswith("_cityscapes"):
        return
    if name.startswith(_LESS_IS_BETTER):
        raise ValueError(
            f"TEST.BEST_METRIC is {cfg.TEST.BEST_METRIC}, of which less is better: name one of "
            f"which more is, such as {group}/{known.get(group, ('mIoU@1',))[0]}"
        )
    of_classes = "-" in name or name.endswith(("_seen", "_unseen")) or name in _SEEN_UNSEEN
    if name not in known.get(group, ()) and not (group in known and of_classes):
        listed = ", ".join(f"{group}/{name}" for group, names in known.items() for name in names)
        raise ValueError(
            f"TEST.BEST_METRIC is {cfg.TEST.BEST_METRIC}: no evaluation of {dataset} gives it; it "
            f'gives {listed} ("{AUTO}" chooses, "" keeps no best model)'
        )


def _dataset_and_metric(cfg: Any) -> tuple[str, str]:
    metric, names = cfg.TEST.BEST_METRIC, cfg.DATASETS.TEST
    for name in names:
        if metric.startswith(f"{name}/"):
            return name, metric.removeprefix(f"{name}/")
    return names[0], metric


def _judged_and_on(cfg: Any, dataset: str) -> list[str]:
    try:
        judged = judges(dataset)
    except NotImplementedError:  # own evaluators, with names of their own
        return []
    is_on = evaluated_tasks(cfg)
    return [task for task in _METRICS if task in judged and task in is_on]


def _known_metrics(cfg: Any, dataset: str) -> dict[str, tuple[str, ...]]:
    settings = pointing_settings(cfg)
    if settings is not None:
        return {kind: _POINTING[kind] for kind in settings.kinds}
    tasks = _judged_and_on(cfg, dataset)
    known = {_METRICS[task][0]: _METRICS[task][1] for task in tasks}
    if "instance" in tasks:
        extra = {
            "bbox": inference_section(cfg).get("DETECTION_ON", False),
            "segm_panoptic": cfg.TEST.PANOPTIC_INSTANCES,
        }
        known.update({group: known["segm"] for group, is_given in extra.items() if is_given})
        if not has_masks(cfg):
            known = {"bbox": known["segm"]}
        if is_lvis_set(dataset):
            names = (*METRICS, *(f"{name}{FIXED}" for name in METRICS))
            known = {f"{group}_lvis": names for group in known if group in ("segm", "bbox")}
    return known

"""Runs a model over the folds of a few-shot benchmark."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detectron2.config import CfgNode
from detectron2.evaluation import inference_on_dataset
from freeseg.data.few_shot import (
    Benchmark,
    EpisodeMapper,
    build_episode_loader,
    find_examples,
    folder_benchmark,
    load_benchmark,
    sample_episodes,
)
from freeseg.data.few_shot.benchmark import FOLDER
from freeseg.data.few_shot.loader import BACKGROUND, PROTOCOL_SIDE, one_by_one
from freeseg.data.photos import PhotoReader
from freeseg.engine.dataset_tuning import tuned_over_dataset
from freeseg.evaluation.episodes import EpisodeSettings, episode_evaluator
from freeseg.evaluation.few_shot import FewShotEvaluator
from freeseg.evaluation.shown_examples import ShownExamples
from freeseg.names import build_model
from freeseg.systems.building import load_weights
from freeseg.tracking import follows_examples
from freeseg.zoo import weights_path

FOLD_SLOT = "{fold}"
LVIS_92I, LVIS_FOLDS, LVIS_EPISODES = "lvis_v1_val", 10, 2300  # of each fold

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FewShotJob:
    """What is evaluated.

    Attributes:
        benchmark: "pascal_5i", "coco_20i", "fss_1000", or "folder", see `folder_benchmark`.
        root: Folder of the datasets, see `freeseg.data.few_shot.layouts`.
        folds: Names; empty: all of the benchmark.
        shots: Examples that an episode shows; 0 for models that read texts.
        seed: Of the episodes.
        num_episodes: Of every fold; None: the benchmark's.
        side: Of the square that images are resized to; 0: none.
        background: Text for all that is not the class.
        uses_release_texts: Call classes as LSeg's release does.
    """

    benchmark: str
    root: Path
    folds: tuple[str, ...] = ()
    shots: int = 0
    seed: int = 0
    num_episodes: int | None = None
    side: int = PROTOCOL_SIDE
    background: str = BACKGROUND
    uses_release_texts: bool = False

    def run(self, cfg: CfgNode) -> dict[str, dict[str, float]]:
        """Results of every fold by its name; "{fold}" in MODEL.WEIGHTS becomes the fold."""
        benchmark = self._benchmark()
        results: dict[str, dict[str, float]] = {}
        model: nn.Module | None = None
        for fold in self.folds or tuple(benchmark.folds):
            if model is None or FOLD_SLOT in cfg.MODEL.WEIGHTS:
                model = load_model(cfg, cfg.MODEL.WEIGHTS.replace(FOLD_SLOT, fold))
            results[fold] = self.run_fold(model, fold, cfg)
            logger.info("%s, fold %s: %s", self.benchmark, fold, _headline(results[fold]))
        return results

    def _benchmark(self) -> Benchmark:
        if self.benchmark == FOLDER:
            return folder_benchmark(self.root)
        return load_benchmark(self.benchmark)

    def run_fold(self, model: nn.Module, fold: str, cfg: CfgNode) -> dict[str, float]:
        """Percentages of one fold."""
        benchmark = self._benchmark()
        episodes = sample_episodes(
            benchmark,
            find_examples(benchmark, self.root, fold),
            shots=self.shots,
            seed=self.seed,
            count=self.num_episodes,
        )
        mapper = EpisodeMapper(
            benchmark,
            cfg.INPUT.FORMAT,
            self.side,
            self.background,
            self.uses_release_texts,
            PhotoReader.from_config(cfg),
        )
        loader = build_episode_loader(episodes, mapper, cfg.DATALOADER.NUM_WORKERS)
        evaluator = FewShotEvaluator({each: benchmark.text(each) for each in benchmark.fold(fold)})
        return _judged(model, loader, evaluator, cfg)


def run_dataset(cfg: CfgNode, name: str, settings: EpisodeSettings) -> dict[str, dict[str, float]]:
    """Percentages of episodes out of a registered data set, by its name."""
    model = load_model(cfg, cfg.MODEL.WEIGHTS)
    loader = one_by_one(settings.of_dataset(cfg, name), cfg.DATALOADER.NUM_WORKERS)
    return {name: _judged(model, loader, episode_evaluator(settings, cfg, name), cfg)}


def run_lvis(
    cfg: CfgNode, settings: EpisodeSettings, folds: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Percentages of LVIS-92i's folds by their names (Liu et al., "Matcher", arXiv 2305.13310).

    Of the classes that more photos show than an episode has examples a fold has every tenth, and
    its episodes walk through them. The photos are those of `LVIS_92I`.

    Raises:
        ValueError: A fold is none of 0 to 9.
    """
    known = [str(fold) for fold in range(LVIS_FOLDS)]
    unknown = [fold for fold in folds if fold not in known]
    if unknown:
        raise ValueError(f"LVIS-92i has no fold {unknown[0]!r}; it has {', '.join(known)}")
    return {
        fold: run_dataset(
            cfg, LVIS_92I, replace(settings, walks=True, fold=(int(fold), LVIS_FOLDS))
        )[LVIS_92I]
        for fold in folds or known
    }


def _judged(
    model: nn.Module, loader: Any, evaluator: FewShotEvaluator, cfg: CfgNode
) -> dict[str, float]:
    """Percentages of a model that reads, or that looks at examples."""
    if follows_examples(model):
        model = ShownExamples(model, cfg.INPUT.FORMAT)
    with torch.no_grad():
        results: Mapping[str, Any] = inference_on_dataset(model, loader, evaluator)
    return dict(results["few_shot"])


def load_model(cfg: CfgNode, weights: str) -> nn.Module:
    """The model of a configuration as it is evaluated, with weights that must fit."""
    model: nn.Module = build_model(cfg).eval()
    load_weights(model, weights_path(weights), allow_misfit=cfg.MODEL.ALLOW_MISFIT)
    return tuned_over_dataset(cfg, model)


def few_shot_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown table: a row per fold, and their mean where there are several."""
    rows = [(fold, values["mIoU"], values["FB-IoU"]) for fold, values in results.items()]
    if len(rows) > 1:
        rows.append(("mean", _mean([row[1] for row in rows]), _mean([row[2] for row in rows])))
    lines = ["| fold | mIoU | FB-IoU |", "| --- | ---: | ---: |"]
    return "\n".join([*lines, *(f"| {fold} | {iou:.2f} | {fb:.2f} |" for fold, iou, fb in rows)])


def _headline(values: Mapping[str, float]) -> str:
    return f"mIoU {values['mIoU']:.2f}, FB-IoU {values['FB-IoU']:.2f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

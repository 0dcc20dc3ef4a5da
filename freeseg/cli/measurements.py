"""Commands that measure a model and print a table: few-shot benchmarks, prompts, label lists."""

from __future__ import annotations

import argparse
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from freeseg.engine import load_config
from freeseg.engine.behaviour import behaviour_table, run_behaviour
from freeseg.engine.few_shot import LVIS_EPISODES, FewShotJob, few_shot_table, run_dataset, run_lvis
from freeseg.engine.segment_naming import run_naming
from freeseg.evaluation.episodes import EpisodeSettings
from freeseg.evaluation.segment_naming import naming_table
from freeseg.files import write_text
from freeseg.systems.building import read_config
from freeseg_command.messages import DONE, say

EPISODES = 1000  # of a data set, as COCO-20i has them


def add_few_shot_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `freeseg evaluate-few-shot` to its parser."""
    parser.description = (
        "Evaluates a model on a few-shot benchmark, or on episodes out of a data set: mIoU over "
        "the classes of every fold and FB-IoU. Models that read texts are told the class's name "
        "(zero-shot), models that follow examples are shown as many as --shots says."
    )
    parser.epilog = '"{fold}" in MODEL.WEIGHTS becomes the name of the fold.'
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    benchmarks = ("pascal_5i", "coco_20i", "fss_1000", "lvis_92i", "folder")
    what.add_argument("--benchmark", choices=benchmarks, help="folder: CLASS/NAME.{jpg,png}")
    what.add_argument("--dataset", metavar="NAME", help="registered, or one's own")
    add("--classes", default="", help="of --dataset, separated by commas; all")
    add("--root", type=Path, metavar="FOLDER", help="folder of a benchmark's datasets")
    add("--folds", default="", help="separated by commas; all")
    add("--shots", type=int, default=0, help="annotated examples of an episode")
    add("--seed", type=int, default=0, help="of the episodes")
    add("--episodes", type=int, help="of every fold; as the protocol says")
    add("--side", type=int, default=480, help="of the square, 480; 0: the image's size")
    add("--background", default="others", help="text for all but the class")
    add("--release-texts", action="store_true", help="names as LSeg's release")
    _add_options(parser, "evaluate_few_shot")


def add_prompts_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `freeseg evaluate-prompts` to its parser."""
    parser.description = (
        "Percentages of the annotated regions of DATASETS.TEST that CLIP names right, among all "
        "classes, for seen and unseen things and stuff."
    )
    parser.epilog = (
        "The prompts are those of MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT, of the prompt stage or of "
        "a whole model, or the templates of PREDEFINED_PROMPT_TEMPLATES."
    )
    _add_limit(parser)
    _add_options(parser, "evaluate_prompts")


def add_behaviour_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `freeseg measure-behaviour` to its parser."""
    parser.description = (
        "Measures on DATASETS.TEST whether labels are found that are there, whether others stay "
        'away, whether what has no label becomes "other", and whether synonyms and wider words '
        "find the same things."
    )
    add = parser.add_argument
    add("--probes", type=Path, required=True, metavar="FILE", help="JSON of labels to ask for")
    _add_limit(parser)
    _add_options(parser, "measure_behaviour")


def _add_limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=0, help="photos, evenly spread; 0: all")


def _add_options(parser: argparse.ArgumentParser, run: str) -> None:
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE")
    add("--output", type=Path, metavar="FILE", help="JSON file of the results; null is no figure")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration overrides")
    parser.set_defaults(run=f"freeseg.cli.measurements:{run}", eval_only=True)
    parser.set_defaults(log_level=logging.INFO)


def evaluate_few_shot(args: argparse.Namespace) -> int:
    """Runs the folds, or the episodes of a data set.

    Raises:
        ValueError: A benchmark has no folder.
    """
    if args.dataset:
        settings = _episodes(args)
        return _measure(args, lambda cfg: run_dataset(cfg, args.dataset, settings), few_shot_table)
    if args.benchmark == "lvis_92i":
        episodes = replace(_episodes(args), count=args.episodes or LVIS_EPISODES)
        return _measure(args, lambda cfg: run_lvis(cfg, episodes, _folds(args)), few_shot_table)
    if args.root is None:
        raise ValueError("--benchmark needs --root, the folder of its datasets")
    job = FewShotJob(
        benchmark=args.benchmark,
        root=args.root,
        folds=_folds(args),
        shots=args.shots,
        seed=args.seed,
        num_episodes=args.episodes,
        side=args.side,
        background=args.background,
        uses_release_texts=args.release_texts,
    )
    return _measure(args, job.run, few_shot_table)


def _folds(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(filter(None, args.folds.split(",")))


def _episodes(args: argparse.Namespace) -> EpisodeSettings:
    return EpisodeSettings(
        classes=tuple(filter(None, map(str.strip, args.classes.split(",")))),
        shots=args.shots,
        seed=args.seed,
        count=args.episodes or EPISODES,
        side=args.side,
        background=args.background,
    )


def evaluate_prompts(args: argparse.Namespace) -> int:
    """Names the regions."""
    return _measure(args, lambda cfg: run_naming(cfg, args.limit), naming_table)


def measure_behaviour(args: argparse.Namespace) -> int:
    """Asks for the labels."""
    return _measure(args, lambda cfg: run_behaviour(cfg, args.probes, args.limit), behaviour_table)


def _measure(
    args: argparse.Namespace,
    measure: Callable[[CfgNode], Mapping[str, Any]],
    table: Callable[[Any], str],
) -> int:
    """Measures under the configuration, prints the table and writes the results."""
    read_config(args.config_file, None, None, args.opts)  # says what is wrong
    results = measure(load_config(args))
    say(table(results))
    if args.output:
        write_text(args.output, json.dumps(_without_nan(results), indent=2) + "\n")
    return DONE


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value

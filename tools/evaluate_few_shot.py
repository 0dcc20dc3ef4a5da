#!/usr/bin/env python3
"""Evaluates a model on PASCAL-5i, COCO-20i or FSS-1000.

tools/evaluate_few_shot.py --config-file FILE.yaml --benchmark pascal_5i --root DIR [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measuring import measure_and_print

from freeseg.engine.few_shot import FewShotJob, few_shot_table


def main() -> int:
    """Reads the arguments, runs the folds and prints the table."""
    parser = argparse.ArgumentParser(
        description="Evaluates a model on a few-shot benchmark: mIoU over the classes of every "
        "fold and FB-IoU. Models that read texts are told the class's name (zero-shot).",
        epilog='"{fold}" in MODEL.WEIGHTS becomes the name of the fold.',
    )
    parser.add_argument("--benchmark", required=True, choices=("pascal_5i", "coco_20i", "fss_1000"))
    parser.add_argument("--root", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--folds", default="", help="separated by commas; all")
    parser.add_argument("--shots", type=int, default=0, help="annotated examples of an episode")
    parser.add_argument("--seed", type=int, default=0, help="of the episodes")
    parser.add_argument("--episodes", type=int, help="of every fold; as the protocol says")
    parser.add_argument("--side", type=int, default=480, help="of the square; 0: the image's size")
    parser.add_argument("--background", default="others", help="text for all but the class")
    parser.add_argument("--release-texts", action="store_true", help="names as LSeg's release")
    return measure_and_print(
        parser, lambda cfg, arguments: _job(arguments).run(cfg), few_shot_table
    )


def _job(arguments: argparse.Namespace) -> FewShotJob:
    return FewShotJob(
        benchmark=arguments.benchmark,
        root=arguments.root,
        folds=tuple(filter(None, arguments.folds.split(","))),
        shots=arguments.shots,
        seed=arguments.seed,
        num_episodes=arguments.episodes,
        side=arguments.side,
        background=arguments.background,
        uses_release_texts=arguments.release_texts,
    )


if __name__ == "__main__":
    sys.exit(main())

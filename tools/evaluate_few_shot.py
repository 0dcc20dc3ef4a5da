#!/usr/bin/env python3
"""Evaluates a model on PASCAL-5i, COCO-20i or FSS-1000.

tools/evaluate_few_shot.py --config-file FILE.yaml --benchmark pascal_5i --root DIR [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from freeseg.engine import load_config
from freeseg.engine.few_shot import FewShotJob, few_shot_table


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Evaluates a model on a few-shot benchmark: mIoU over the classes of every "
        "fold and FB-IoU. Models that read texts are told the class's name (zero-shot).",
        epilog='"{fold}" in MODEL.WEIGHTS becomes the name of the fold.',
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--benchmark", required=True, choices=("pascal_5i", "coco_20i", "fss_1000"))
    parser.add_argument("--root", type=Path, required=True, help="folder of the datasets")
    parser.add_argument("--folds", default="", help="separated by commas; all")
    parser.add_argument("--shots", type=int, default=0, help="annotated examples of an episode")
    parser.add_argument("--seed", type=int, default=0, help="of the episodes")
    parser.add_argument("--episodes", type=int, help="of every fold; as the protocol says")
    parser.add_argument("--side", type=int, default=480, help="of the square; 0: the image's size")
    parser.add_argument("--background", default="others", help="text for all but the class")
    parser.add_argument("--release-texts", action="store_true", help="names as LSeg's release")
    parser.add_argument("--output", type=Path, help="JSON file of all results")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ...")
    return parser.parse_args()


def main() -> int:
    """Reads the arguments, runs the folds and prints the table."""
    arguments = read_arguments()
    arguments.eval_only = True
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    job = FewShotJob(
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
    try:
        results = job.run(load_config(arguments))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(few_shot_table(results))
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Asks a system that takes phrases for the objects of photos by the names of their classes.

tools/evaluate_phrases.py --config-file FILE.yaml --dataset NAME [--task panoptic] [KEY VALUE ...]

Objects count whose class a photo shows once. Beside their phrases stand chance, the name of a class
that the photo does not show, and clicks.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import torch

from freeseg import build_model
from freeseg.catalog import dataset_vocabulary
from freeseg.data import build_test_loader
from freeseg.evaluation.pointing import EncodedPhoto, TrueObjects
from freeseg.evaluation.pointing.phrases import ask_by_name, named_once, phrase_scores
from freeseg.structures import Task
from freeseg.systems.building import load_weights, read_config
from freeseg_command.messages import exit_code_of


def evaluate(args: argparse.Namespace) -> None:
    """Prints a row for every group of classes."""
    cfg = read_config(args.config_file, None, None, args.opts)
    vocabulary = dataset_vocabulary(args.dataset)
    if vocabulary is None:
        raise ValueError(f"dataset {args.dataset} names no classes")
    model = build_model(cfg).eval()
    if Task.OBJECT not in model.answers or "phrases" not in model.answers[Task.OBJECT].kinds:
        raise ValueError(f"{cfg.MODEL.META_ARCHITECTURE} takes no phrases: MODEL.SAM.TEXT.ENABLED")
    load_weights(model, cfg.MODEL.WEIGHTS)
    loader = build_test_loader(cfg, args.dataset, truth_task=args.task)
    rows = []
    with torch.inference_mode():
        for (wanted,) in itertools.islice(loader, args.photos):
            objects = named_once(TrueObjects.read(wanted))
            if len(objects):
                found = ask_by_name(EncodedPhoto(model, wanted), objects, vocabulary)
                rows.append((objects.labels, found))
    for group, count, means in phrase_scores(rows, vocabulary):
        scores = ", ".join(f"{said} {value:.1f}" for said, value in means.items())
        print(f"mIoU, {group} ({count}): {scores}")


def main() -> int:
    """Reads the arguments; what is wrong with them costs one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--dataset", required=True)
    tasks = ("instance", "panoptic")
    parser.add_argument("--task", choices=tasks, default="instance", help="things, or stuff too")
    parser.add_argument("--photos", type=int, help="the first so many; default: all")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="overrides")
    args = parser.parse_args()
    return exit_code_of(lambda: evaluate(args))


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Prints how many parameters a model has and how much it computes, by its parts.

tools/analyze_model.py --model camvid [--size 480x640]
tools/analyze_model.py --config-file configs/mask2former/coco/panoptic_R50.yaml --size 800x1333
"""

from __future__ import annotations

import argparse

import torch

from freeseg import Segmenter
from freeseg.engine.analysis import analyze, sizes_table


def main() -> None:
    """Builds the model, runs it once and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--model", metavar="NAME", help="as of `freeseg segment`")
    choice.add_argument("--config-file", metavar="FILE", help="a model without weights")
    parser.add_argument("--size", default="480x640", help="height x width (default: %(default)s)")
    parser.add_argument("--task", default="panoptic", help="default: %(default)s")
    args = parser.parse_args()
    height, width = (int(side) for side in args.size.split("x"))
    if args.model:
        segmenter = Segmenter.from_pretrained(args.model)
    else:
        segmenter = Segmenter.from_config(args.config_file, "")
    request = {
        "image": torch.zeros(3, height, width, dtype=torch.uint8),
        "height": height,
        "width": width,
        "tasks": (args.task,),
    }
    if segmenter.takes_text:
        request["vocabulary"] = segmenter.vocabulary
    print(sizes_table(analyze(segmenter.model, [request])))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Prints how many parameters a model has and how much it computes, by its parts.

tools/analyze_model.py --model camvid [--size 480x640]
tools/analyze_model.py --config-file configs/mask2former/coco/panoptic_R50.yaml --size 800x1333
"""

from __future__ import annotations

import argparse
import sys

import torch

from freeseg import Segmenter
from freeseg.engine.analysis import analyze, sizes_table
from freeseg_command.messages import exit_code_of


def main() -> None:
    """Builds the model, runs it once and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--model", metavar="NAME", help="as of `freeseg segment`")
    choice.add_argument("--config-file", metavar="FILE", help="a model without weights")
    add_size = "height x width (default: 480x640)"
    parser.add_argument("--size", type=_size, default=(480, 640), metavar="HxW", help=add_size)
    parser.add_argument("--task", default="panoptic", help="default: %(default)s")
    args = parser.parse_args()
    height, width = args.size
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


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"wanted HEIGHTxWIDTH, got {text}")
    return int(height), int(width)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))

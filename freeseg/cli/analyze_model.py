"""`freeseg analyze-model`: the parameters of a model and what it computes, by its parts."""

from __future__ import annotations

import argparse

import torch

from freeseg import Segmenter
from freeseg.engine.analysis import analyze, sizes_table
from freeseg_command.messages import DONE, say

_EPILOG = """
examples:
  freeseg analyze-model --model camvid
  freeseg analyze-model --config-file FILE.yaml --size 800x1333
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Prints how many parameters a model has and how much it computes on a black photo, by its "
        "parts. To draw what it found there is in the rest: without weights that is less."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.analyze_model:run")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--model", metavar="NAME", help="as of `freeseg segment`")
    choice.add_argument("--config-file", metavar="FILE", help="a model without weights")
    add_size = "height x width (default: 480x640)"
    parser.add_argument("--size", type=_size, default=(480, 640), metavar="HxW", help=add_size)
    parser.add_argument("--task", default="panoptic", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Builds the model, runs it once and prints a table."""
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
    say(sizes_table(analyze(segmenter.model, [request])))
    return DONE


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"wanted HEIGHTxWIDTH, got {text}")
    return int(height), int(width)

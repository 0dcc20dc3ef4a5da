"""The options that say which model a command works with."""

from __future__ import annotations

import argparse

from freeseg_command.catalog import DEFAULT_MODEL


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds --model, or a configuration and weights instead, and how to run it."""
    add = parser.add_argument
    add("--model", metavar="NAME", help=f"{_MODEL_HELP} (default: {DEFAULT_MODEL})")
    add("--config-file", metavar="FILE", help="configuration of a model, instead of --model")
    add("--weights", metavar="FILE", help="its weights (default: the configuration's)")
    add("--device", help="cpu, cuda, cuda:1 (default: the configuration's, cpu without CUDA)")
    add("--opts", nargs="+", metavar="KEY VALUE", help="overrides of the configuration")


def add_required_model(parser: argparse.ArgumentParser) -> None:
    """Adds --model and --config-file, of which one has to be given, and weights instead of its."""
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--model", metavar="NAME", help=_MODEL_HELP)
    choice.add_argument("--config-file", metavar="FILE", help="configuration of a model")
    parser.add_argument("--weights", metavar="FILE", help="instead of the model's")


_MODEL_HELP = (
    "a name that `freeseg models` lists, owner/name on Hugging Face's hub, or a folder: of a "
    "training, of `freeseg convert`, or in Hugging Face's layout; A+B: the boxes of A, masks by B"
)

"""The options that say which model a command works with."""

from __future__ import annotations

import argparse

from freeseg.predictor import Segmenter
from freeseg.zoo import CLOSED_MODEL, DEFAULT_MODEL


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds --model, or a configuration and weights instead, and how to run it."""
    add = parser.add_argument
    add("--model", metavar="NAME", help=f"{_MODEL_HELP} (default: {DEFAULT_MODEL})")
    add("--config-file", metavar="FILE", help="configuration of a model, instead of --model")
    add("--weights", metavar="FILE", help="its weights (default: the configuration's)")
    add("--device", help="cpu, cuda, cuda:1 (default: the configuration's, cpu without CUDA)")
    add("--opts", nargs="+", metavar="KEY VALUE", help="overrides of the configuration")


def load_segmenter(args: argparse.Namespace) -> Segmenter:
    """The model that the options of `add_model_options` name."""
    opts = args.opts or ()
    if args.config_file is not None:
        if args.model is not None:
            raise ValueError("name a model by --model or by --config-file, not by both")
        return Segmenter.from_config(args.config_file, args.weights, args.device, opts)
    if args.weights is not None:
        opts = (*opts, "MODEL.WEIGHTS", args.weights)
        if args.model is None:
            raise ValueError("--weights needs --config-file, or --model")
    try:
        return Segmenter.from_pretrained(args.model or DEFAULT_MODEL, args.device, opts)
    except ImportError as error:
        if args.model is not None:
            raise
        raise ImportError(
            f"{error}, or name a model without text: --model {CLOSED_MODEL}"
        ) from error


_MODEL_HELP = (
    "a name that `freeseg models` lists, owner/name on Hugging Face's hub, or a folder: of a "
    "training, of `freeseg convert`, or in Hugging Face's layout"
)

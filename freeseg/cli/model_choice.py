"""The model that a command's options name."""

from __future__ import annotations

import argparse

from freeseg.predictor import Segmenter
from freeseg.zoo import CLOSED_MODEL, DEFAULT_MODEL


def load_segmenter(args: argparse.Namespace) -> Segmenter:
    """The model that the options of `freeseg_command.arguments.model_choice` name."""
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

"""The model that a command's options name."""

from __future__ import annotations

import argparse

from detectron2.config import CfgNode
from freeseg.composition import pretrained
from freeseg.segmenter import Segmenter
from freeseg.systems.building import read_config
from freeseg.zoo import CLOSED_MODEL, DEFAULT_MODEL, find_model


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
        return pretrained(args.model or DEFAULT_MODEL, args.device, opts)
    except ImportError as error:
        if args.model is not None:
            raise
        raise ImportError(
            f"{error}, or name a model without text: --model {CLOSED_MODEL}"
        ) from error


def read_model_config(args: argparse.Namespace) -> CfgNode:
    """The configuration of that model, whose weights need not be here."""
    source = args.config_file
    if source is None:
        source = find_model(args.model or DEFAULT_MODEL, needs_weights=False).config
    return read_config(source, args.weights, args.device, args.opts or ())

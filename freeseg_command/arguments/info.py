"""`freeseg info`: what a checkpoint is."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Says what a model of the catalogue, a folder or a checkpoint file is: whose names its "
        "weights have and how many there are, its system, backbone and classes, at what size it "
        "sees photos, what its results keep, where each of these is said, its licence and its "
        "figures. Nothing in the file is executed."
    )
    parser.set_defaults(run="freeseg.cli.model_info:show_info")
    parser.add_argument("model", metavar="MODEL", help="name, folder, or checkpoint")
    parser.add_argument("--keys", action="store_true", help="list every weight and its shape")
    parser.add_argument("--json", action="store_true", help="print as JSON")

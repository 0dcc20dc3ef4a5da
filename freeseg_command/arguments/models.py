"""`freeseg models`: what there is, by name."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Lists the models that --model takes. Tasks: P panoptic, I instance, S semantic. Weights: "
        "bundled, downloaded already, to be downloaded on first use, on Hugging Face's hub, or to "
        "be fetched by hand from a web page."
    )
    parser.set_defaults(run="freeseg_command.models:run")
    parser.add_argument("words", nargs="*", metavar="WORD", help="only models with all words")
    parser.add_argument("--fetch", metavar="NAME", help="download a model's weights now")
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")

"""`freeseg prepare`: a downloaded dataset in the form that training reads."""

from __future__ import annotations

import argparse
import logging

from freeseg.data.prepare.job import add_options
from freeseg.data.prepare.job import run as run_parts
from freeseg.data.prepare.preparations import preparations


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a parser for each dataset."""
    parser.description = "Brings a downloaded dataset into the form that training reads."
    parser.set_defaults(run="freeseg.cli.prepare:run", log_level=logging.INFO)
    names = parser.add_subparsers(metavar="NAME", dest="name", required=True)
    for name, preparation in preparations().items():
        one = names.add_parser(name, help=preparation.title, description=preparation.description)
        add_options(one, preparation.parts, preparation.folder)


def run(args: argparse.Namespace) -> int:
    """Prepares it; the exit code says whether files were missing."""
    return run_parts(preparations()[args.name].parts, args)

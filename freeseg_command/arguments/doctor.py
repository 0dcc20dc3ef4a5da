"""`freeseg doctor`: versions, Detectron2, the operator, the GPU, and what to do about problems."""

from __future__ import annotations

import argparse

from freeseg_command.messages import EXIT_CODES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.epilog = EXIT_CODES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.doctor:run")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")

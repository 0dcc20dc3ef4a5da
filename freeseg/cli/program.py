"""The command line as a whole: its parser, its commands, and what happens to their errors."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from freeseg import __version__
from freeseg.cli.check import add_parsers as add_check
from freeseg.cli.doctor import add_parsers as add_doctor
from freeseg.cli.jobs import add_parsers as add_jobs
from freeseg.cli.messages import EXIT_CODES, exit_code_of
from freeseg.cli.model_info import add_parsers as add_model_info
from freeseg.cli.models import add_parsers as add_models
from freeseg.cli.segment import add_parsers as add_segment
from freeseg.cli.serve import add_parsers as add_serve

_COMMANDS = (add_segment, add_models, add_model_info, add_jobs, add_check, add_serve, add_doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line (sys.argv when None) and returns its exit code."""
    try:
        args = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said what is wrong, or has printed the help
        return int(stop.code or 0)
    logging.basicConfig(level=logging.WARNING, format="freeseg: %(levelname)s: %(message)s")
    return exit_code_of(lambda: args.run(args), args)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `args.run(args)` runs the one that was given."""
    parser = argparse.ArgumentParser(
        prog="freeseg",
        description="Segments photos and videos with trained models.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"freeseg {__version__}")
    _offer_completion(parser)
    parser.set_defaults(errors_are_lines=True)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add_command in _COMMANDS:
        add_command(commands)
    return parser


def _offer_completion(parser: argparse.ArgumentParser) -> None:
    """Adds --print-completion where shtab, which writes the scripts, is installed."""
    try:
        import shtab
    except ImportError:
        return
    shtab.add_argument_to(parser, "--print-completion", help="print a shell's completion script")

"""`freeseg serve`: the web demo."""

from __future__ import annotations

import argparse

from freeseg_command.arguments.model_choice import add_model_options
from freeseg_command.messages import positive

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Serves a page to drop a photo on. By default only this machine can open it. Photos are "
        "handled in memory; nothing is written."
    )
    parser.set_defaults(run="freeseg.cli.serve:run")
    add = parser.add_argument
    add_model_options(parser)
    add("--more-models", nargs="+", default=(), metavar="NAME", help="further ones to choose from")
    add("--host", default=LOCAL_HOSTS[0], help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=7860, help="default: %(default)s")
    add("--max-upload", type=positive, default=20, metavar="MB", help="default: %(default)s")
    add("--max-pixels", type=positive, default=20, metavar="MP", help="in millions (%(default)s)")
    add("--queue", type=positive, default=8, metavar="N", help="waiting requests (%(default)s)")
    add("--max-words", type=positive, default=200, metavar="N", help="of a list (%(default)s)")
    add("--examples", metavar="DIR", help="folder of photos for the gallery")

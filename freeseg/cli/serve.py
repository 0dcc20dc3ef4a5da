"""`freeseg serve`: the web demo."""

from __future__ import annotations

import argparse
from typing import Any

from freeseg.cli.messages import DONE, complain, positive, say
from freeseg.cli.model_choice import add_model_options, load_segmenter

_LOCAL = ("127.0.0.1", "localhost", "::1")


def add_parsers(commands: Any) -> None:
    """Adds the command to the parser's commands."""
    parser = commands.add_parser(
        "serve",
        help="a web page to segment photos in a browser",
        description="Serves a page to drop a photo on. By default only this machine can open it. "
        "Photos are handled in memory; nothing is written.",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add_model_options(parser)
    add("--more-models", nargs="+", default=(), metavar="NAME", help="further ones to choose from")
    add("--host", default=_LOCAL[0], help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=7860, help="default: %(default)s")
    add("--max-upload", type=positive, default=20, metavar="MB", help="default: %(default)s")
    add("--max-pixels", type=positive, default=20, metavar="MP", help="in millions (%(default)s)")
    add("--queue", type=positive, default=8, metavar="N", help="waiting requests (%(default)s)")
    add("--max-words", type=positive, default=200, metavar="N", help="of a list (%(default)s)")
    add("--examples", metavar="DIR", help="folder of photos for the gallery")


def run(args: argparse.Namespace) -> int:
    """Serves until interrupted."""
    from freeseg.predictor import Segmenter
    from freeseg.web import Limits, listen, serve
    from freeseg.zoo import DEFAULT_MODEL

    with listen(args.host, args.port) as listener:
        if args.host not in _LOCAL:
            complain(f"others can reach this server: it listens on {args.host}, without passwords")
        models = {args.model or args.config_file or DEFAULT_MODEL: load_segmenter(args)}
        for name in args.more_models:
            models[name] = Segmenter.from_pretrained(name, args.device)
        limits = Limits(
            upload_bytes=args.max_upload << 20,
            pixels=args.max_pixels * 1_000_000,
            waiting=args.queue,
            words=args.max_words,
        )
        host = f"[{args.host}]" if ":" in args.host else args.host
        say(f"http://{host}:{listener.getsockname()[1]} (stop with Ctrl-C)")
        serve(models, listener, limits, args.examples)
    return DONE

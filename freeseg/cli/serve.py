"""`freeseg serve`: the web demo."""

from __future__ import annotations

import argparse

from freeseg.cli.model_choice import load_segmenter
from freeseg_command.arguments.serve import LOCAL_HOSTS
from freeseg_command.messages import DONE, complain, say


def run(args: argparse.Namespace) -> int:
    """Serves until interrupted."""
    from freeseg.composition import pretrained
    from freeseg.web import Limits, listen, serve
    from freeseg_command.catalog import DEFAULT_MODEL

    with listen(args.host, args.port) as listener:
        if args.host not in LOCAL_HOSTS:
            complain(f"others can reach this server: it listens on {args.host}, without passwords")
        models = {args.model or args.config_file or DEFAULT_MODEL: load_segmenter(args)}
        for name in args.more_models:
            models[name] = pretrained(name, args.device)
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

"""`freeseg models`: what there is, by name."""

from __future__ import annotations

import argparse
from typing import Any

from freeseg.cli.messages import DONE, SOME_FAILED, complain, say, say_json
from freeseg.zoo import find_model, load_catalog, model_rows, models_table


def add_parsers(commands: Any) -> None:
    """Adds the command to the parser's commands."""
    parser = commands.add_parser(
        "models",
        help="list the models that can be named; fetch one",
        description="Lists the models that --model takes. Tasks: P panoptic, I instance, S "
        "semantic. Weights: bundled, downloaded already, to be downloaded on first use, on Hugging "
        "Face's hub, or to be fetched by hand from a web page.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only models with all words")
    parser.add_argument("--fetch", metavar="NAME", help="download a model's weights now")
    parser.add_argument("--json", action="store_true", help="print all that is known, as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the table, or fetches."""
    if args.fetch:
        found = find_model(args.fetch)
        if args.json:
            say_json({"name": args.fetch, "weights": found.weights})
        else:
            say(f"{args.fetch}: {found.weights}")
        return DONE
    rows = model_rows(load_catalog().values())
    words = [word.casefold() for word in args.words]
    chosen = [row for row in rows if all(word in str(row).casefold() for word in words)]
    if args.json:
        say_json(chosen)
    elif chosen:
        say(models_table(load_catalog()[row["name"]] for row in chosen))
    if not chosen:
        complain(f"no model has the words {' '.join(args.words)}")
    return DONE if chosen else SOME_FAILED

"""`freeseg models`: what there is, by name."""

from __future__ import annotations

import argparse

from freeseg_command.catalog import load_catalog
from freeseg_command.messages import DONE, SOME_FAILED, complain, say, say_json
from freeseg_command.table import model_rows, models_table


def run(args: argparse.Namespace) -> int:
    """Prints the table, or fetches."""
    if args.fetch:
        from freeseg.zoo import find_model

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

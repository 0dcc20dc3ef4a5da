"""`freeseg check-parity`: a system against stored outputs of its original."""

from __future__ import annotations

import argparse

from freeseg.parity import COMPARISONS, check_folder
from freeseg_command.messages import DONE, SOME_FAILED, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Compares a system with stored outputs of its original. FOLDER holds the original's config "
        "and model.safetensors, and io.safetensors with an input and its results. Exits 0 if the "
        "largest absolute difference of every tensor is within tolerance, and panoptic maps agree "
        "on 99.9 % of the pixels up to segment ids."
    )
    parser.set_defaults(run="freeseg.cli.check_parity:run")
    parser.add_argument("--system", required=True, choices=sorted(COMPARISONS))
    parser.add_argument("--golden", required=True, metavar="FOLDER")
    parser.add_argument("--tol", type=float, default=1e-4)


def run(args: argparse.Namespace) -> int:
    """Prints one line per stored tensor, and the verdict."""
    checks = check_folder(args.system, args.golden, args.tol)
    for check in checks:
        say(str(check))
    failed = [check.name for check in checks if not check.is_ok]
    compared = sum(check.difference is not None for check in checks)
    say(f"{compared - len(failed)} of {compared} compared tensors agree")
    return SOME_FAILED if failed or not compared else DONE

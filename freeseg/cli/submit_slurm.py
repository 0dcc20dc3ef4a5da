"""`freeseg submit-slurm`: a training job on a SLURM cluster."""

from __future__ import annotations

import argparse
import importlib

from freeseg.cli.jobs import add_train_arguments, check_job
from freeseg.engine.slurm import SlurmSettings, submit
from freeseg_command.messages import DONE, say

_EPILOG = """
example:
  freeseg submit-slurm --nodes 2 --processes 8 --partition gpu -- --config-file FILE.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = "Submits a training; after -- come the arguments of `freeseg train`."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.submit_slurm:run")
    add = parser.add_argument
    add("--folder", default="output/slurm", help="of logs; every machine must see it")
    add("--cluster", default="slurm", choices=("slurm", "local"))
    add("--nodes", type=int, default=1, metavar="N")
    add("--processes", type=int, default=1, metavar="N", help="on each node, one per GPU")
    add("--minutes", type=int, default=24 * 60, metavar="N", help="then it is resumed")
    add("--partition", metavar="NAME")
    add("--import", dest="modules", action="append", default=[], metavar="MODULE",
        help="import it first: it registers what the configuration names")  # fmt: skip
    add("training", nargs="*", metavar="-- TRAIN_ARGUMENT")


def run(args: argparse.Namespace) -> int:
    """Submits, and prints the number of the job."""
    parser = argparse.ArgumentParser(prog="freeseg train", conflict_handler="resolve")
    add_train_arguments(parser)
    training = parser.parse_args(args.training)
    for name in args.modules:
        importlib.import_module(name)
    check_job(training)
    settings = SlurmSettings(
        folder=args.folder,
        cluster=args.cluster,
        nodes=args.nodes,
        processes=args.processes,
        minutes=args.minutes,
        partition=args.partition,
        modules=tuple(args.modules),
    )
    job = submit(training, settings)
    say(f"submitted as job {job.job_id}, logs in {args.folder}")
    return DONE

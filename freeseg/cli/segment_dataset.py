"""`freeseg segment-dataset`: folders, lists and tar shards of any size."""

from __future__ import annotations

import argparse
from pathlib import Path

from freeseg.bulk import BulkJob
from freeseg.cli.bulk_options import add_bulk_options, bulk_settings, model_settings
from freeseg_command.arguments.model_choice import add_required_model
from freeseg_command.messages import DONE, INTERRUPTED, SOME_FAILED, complain, make_folder, say
from freeseg_command.tasks import SHOWN_TASKS

_EPILOG = """
OUT/parts has one record for every photo, as JSON lines with COCO annotations or as WebDataset
shards; OUT/report.json the figures, OUT/failures.jsonl what could not be segmented. Started again
with the same arguments, it goes on where it was killed. Exit codes: 0 all photos were segmented,
1 some could not be, 2 the arguments cannot be used, 130 interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Segments folders, lists and tar shards of any size; can be killed and started again."
    )
    parser.epilog = _EPILOG
    parser.set_defaults(run="freeseg.cli.segment_dataset:run")
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="photo, folder, list (.txt) or shard (.tar)")
    add_required_model(parser)
    add("--out", required=True, type=Path, metavar="FOLDER")
    add("--task", default="panoptic", choices=(*SHOWN_TASKS, "all"))
    add("--classes", metavar="LIST", help="for open-vocabulary models")
    add("--format", default="jsonl", choices=("jsonl", "webdataset"))
    add_bulk_options(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the job and returns the exit code."""
    model = model_settings(args, task=args.task, classes=args.classes)
    make_folder(args.out, "--out")
    try:
        report = BulkJob(args.sources, model, args.out, args.format, bulk_settings(args)).run()
    except KeyboardInterrupt:
        complain("interrupted: start it again to go on")
        return INTERRUPTED
    say(
        f"{report.photos - report.failed} of {report.photos} photos segmented, "
        f"{report.photos_per_second} a second in this run; see {args.out / 'report.json'}"
    )
    for error in report.errors:
        complain(error)
    return DONE if report.is_complete else SOME_FAILED

"""`freeseg label`: a COCO data set of what a model finds in photos."""

from __future__ import annotations

import argparse
from pathlib import Path

from freeseg.cli.bulk_options import add_bulk_options, bulk_settings, model_settings
from freeseg.labelling import LabelJob, Labelled, left_out_names
from freeseg.visualization.annotations import INSTANCES_FILE
from freeseg_command.arguments.model_choice import add_required_model
from freeseg_command.messages import (
    DONE,
    EXIT_CODES,
    INTERRUPTED,
    SOME_FAILED,
    complain,
    make_folder,
    printable,
    say,
    share,
)

_EPILOG = f"""examples:
  freeseg label photos/ --text "car|automobile, cyclist" --model A+B --out labelled
  freeseg label photos/ --text classes.txt --model MODEL --panoptic --workers 2 --out labelled
  freeseg label photos/ --text classes.txt --model MODEL --panoptic --workers 2 --out labelled \\
      --leave-out left_out.txt

OUT gets COCO's annotations_instances.json (and annotations_panoptic.json with PNGs), which training
takes as they are; review.html, a page of thumbnails; and job/. Started again with the same
arguments, it goes on where it was killed, and writes the files without the photos of --leave-out.

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = "Labels photos with a model: a COCO data set, and pages to review it."
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.label:run")
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="photo, folder with those below, or list (.txt)")
    add("--text", "--classes", metavar="LIST", help=_TEXT_HELP)
    add_required_model(parser)
    add("--out", required=True, type=Path, metavar="DATASET", help="folder of the data set")
    add("--panoptic", action="store_true", help=_PANOPTIC_HELP)
    add(
        "--min-score", default=0.3, type=share, metavar="S", help="of labels (default: %(default)s)"
    )
    add("--leave-out", type=Path, metavar="FILE", help="names of photos, as review.html saves them")
    add_bulk_options(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the job and returns the exit code."""
    left_out = left_out_names(args.leave_out) if args.leave_out else frozenset()
    job = LabelJob(
        args.photos,
        model_settings(args, classes=args.text),
        args.out,
        min_score=args.min_score,
        panoptic=args.panoptic,
        settings=bulk_settings(args),
    )
    make_folder(args.out, "--out")
    try:
        labelled = job.run(left_out)
    except KeyboardInterrupt:
        complain("interrupted: start it again to go on")
        return INTERRUPTED
    _say(labelled)
    return DONE if labelled.report.is_complete and not labelled.unknown else SOME_FAILED


def _say(labelled: Labelled) -> None:
    report = labelled.report
    done = report.photos - report.failed
    new = f"{report.photos_of_this_run} in this run, {report.photos_per_second} a second"
    say(f"{done} of {report.photos} photos labelled ({new})")
    say(f"review: {labelled.pages[0]}")
    for path in labelled.files:
        pngs = "" if path.name == INSTANCES_FILE else str(path.with_suffix(""))
        row = ["labelled", str(path), str(labelled.image_root), pngs]
        say(f'train: DATASETS.CUSTOM "{[row]}" DATASETS.TRAIN "(\'labelled\',)"')
    if report.failed:
        complain(f"{report.failed} photos failed, see job/failures.jsonl")
    for name in labelled.unknown:
        complain(printable(f"--leave-out: {name} is no photo of the data set"))
    for error in report.errors:
        complain(error)


_TEXT_HELP = (
    'what to look for: "car|automobile, cyclist", a text or JSON file, or a dataset\'s name '
    "(default: the model's own classes)"
)
_PANOPTIC_HELP = "also panoptic segments; made of the masks where the model has instances alone"

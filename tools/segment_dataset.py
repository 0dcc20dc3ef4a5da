#!/usr/bin/env python3
"""Segments folders, lists and tar shards of any size; can be killed and started again.

tools/segment_dataset.py SOURCE ... --config-file FILE --weights FILE --out FOLDER
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from freeseg.bulk import BulkJob, BulkSettings
from freeseg.bulk.worker import ModelSettings

SOME_FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130  # exit codes

EPILOG = """
OUT/parts has one record for every photo, as JSON lines with COCO annotations or as WebDataset
shards; OUT/report.json the figures, OUT/failures.jsonl what could not be segmented. Started again
with the same arguments, it goes on where it was killed. Exit codes: 0 all photos were segmented,
1 some could not be, 2 the arguments cannot be used, 130 interrupted.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    description = __doc__.splitlines()[0] if __doc__ else ""
    arguments = argparse.ArgumentParser(description=description, epilog=EPILOG)
    add = arguments.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="photo, folder, list (.txt) or shard (.tar)")
    add("--config-file", required=True, metavar="FILE")
    add("--weights", metavar="FILE", help="default: the configuration's")
    add("--out", required=True, type=Path, metavar="FOLDER")
    add("--task", default="panoptic", choices=("panoptic", "instance", "semantic", "all"))
    add("--classes", metavar="LIST", help="for open-vocabulary models")
    add("--format", default="jsonl", choices=("jsonl", "webdataset"))
    add("--engine", default="processes", choices=("processes", "ray"))
    add("--workers", type=int, default=os.cpu_count() or 1, help="default: one for each core")
    add("--chunk", type=int, default=32, metavar="N", help="photos in a part (default: 32)")
    add("--device", help="cpu, cuda (default: the configuration's)")
    add("--import", dest="modules", action="append", default=[], metavar="MODULE",
        help="import it first: it registers what the configuration names")  # fmt: skip
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help="configuration overrides")
    return arguments


def main() -> int:
    """Runs the job and returns the exit code."""
    args = parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    model = ModelSettings(
        config=args.config_file, weights=args.weights, device=args.device, opts=tuple(args.opts),
        task=args.task, classes=args.classes, modules=tuple(args.modules),
    )  # fmt: skip
    try:
        settings = BulkSettings(args.engine, args.workers, args.chunk)
        report = BulkJob(args.sources, model, args.out, args.format, settings).run()
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("interrupted: start it again to go on", file=sys.stderr)
        return INTERRUPTED
    print(
        f"{report.photos - report.failed} of {report.photos} photos segmented, "
        f"{report.photos_per_second} a second in this run; see {args.out / 'report.json'}"
    )
    for error in report.errors:
        print(error, file=sys.stderr)
    return 0 if report.is_complete else SOME_FAILED


if __name__ == "__main__":
    sys.exit(main())

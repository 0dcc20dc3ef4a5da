#!/usr/bin/env python3
"""Generates Shapes, which the loader would otherwise do on first use.

Writes $DETECTRON2_DATASETS/shapes (without that variable, the user's cache folder) unless --output
says otherwise; a split that exists is kept. The large "many_seen_train" is left to its first use.
"""

from __future__ import annotations

import sys

from freeseg.data.datasets.roots import generated_root
from freeseg.data.datasets.shapes import SPLITS
from freeseg.data.prepare.job import Job, run
from freeseg.data.shapes import ensure_split


def prepare_shapes(job: Job) -> None:
    """Generate splits into a folder each; "seen_train" goes with "train"."""
    for split in SPLITS:
        if split.name.removeprefix("seen_") in job.splits:
            ensure_split(job.output / split.name, split)


if __name__ == "__main__":
    sys.exit(run({"shapes": prepare_shapes}, __doc__, generated_root() / "shapes"))

"""Generates Shapes, which the loader would otherwise do on first use."""

from __future__ import annotations

from freeseg.data.datasets.shapes import SPLITS
from freeseg.data.prepare.job import Job
from freeseg.data.shapes import ensure_split


def prepare_shapes(job: Job) -> None:
    """Generate splits into a folder each; "seen_train" goes with "train"."""
    for split in SPLITS:
        if split.name.removeprefix("seen_") in job.splits:
            ensure_split(job.output / split.name, split)

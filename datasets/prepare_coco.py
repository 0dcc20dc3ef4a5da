#!/usr/bin/env python3
"""Prepares COCO 2017: semantic PNGs and instances of the panoptic annotation, and COCO-Stuff.

Reads and writes $DETECTRON2_DATASETS/coco unless --source and --output say otherwise; safe to
rerun. datasets/README.md says what must be there.
"""

from __future__ import annotations

import sys

from freeseg.data.datasets.roots import datasets_root
from freeseg.data.prepare.coco import (
    prepare_panoptic_instances,
    prepare_panoptic_semantic,
    prepare_stuff,
)
from freeseg.data.prepare.job import run

PARTS = {
    "panoptic": prepare_panoptic_semantic,
    "instances": prepare_panoptic_instances,
    "stuff": prepare_stuff,
}

if __name__ == "__main__":
    sys.exit(run(PARTS, __doc__, datasets_root() / "coco"))

#!/usr/bin/env python3
"""Prepares ADE20K (SceneParse150): semantic labels from 0, instance JSON, panoptic annotation.

Reads and writes $DETECTRON2_DATASETS/ADEChallengeData2016 unless --source and --output say
otherwise; safe to rerun. datasets/README.md says what must be there.
"""

from __future__ import annotations

import sys

from freeseg.data.datasets.roots import datasets_root
from freeseg.data.prepare.ade20k import prepare_instances, prepare_panoptic, prepare_semantic
from freeseg.data.prepare.job import run

PARTS = {
    "semantic": prepare_semantic,
    "instance": prepare_instances,
    "panoptic": prepare_panoptic,
}

if __name__ == "__main__":
    sys.exit(run(PARTS, __doc__, datasets_root() / "ADEChallengeData2016"))

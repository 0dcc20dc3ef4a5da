#!/usr/bin/env python3
"""Prepares Cityscapes fine: labelTrainIds PNGs and the COCO-panoptic annotation.

Reads and writes $DETECTRON2_DATASETS/cityscapes unless --source and --output say otherwise; safe
to rerun. datasets/README.md says what must be there.
"""

from __future__ import annotations

import sys

from freeseg.data.datasets.roots import datasets_root
from freeseg.data.prepare.cityscapes import prepare_panoptic, prepare_semantic
from freeseg.data.prepare.job import run

PARTS = {"semantic": prepare_semantic, "panoptic": prepare_panoptic}

if __name__ == "__main__":
    sys.exit(run(PARTS, __doc__, datasets_root() / "cityscapes"))

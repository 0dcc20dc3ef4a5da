#!/usr/bin/env python3
"""Prepares Pascal VOC 2012 segmentation: label PNGs with and without the background class.

Reads and writes $DETECTRON2_DATASETS/VOC2012 unless --source and --output say otherwise; safe to
rerun. datasets/README.md says what must be there.
"""

from __future__ import annotations

import sys

from freeseg.data.datasets.roots import datasets_root
from freeseg.data.prepare.job import run
from freeseg.data.prepare.voc import prepare_semantic

if __name__ == "__main__":
    sys.exit(run({"semantic": prepare_semantic}, __doc__, datasets_root() / "VOC2012"))

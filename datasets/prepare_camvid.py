#!/usr/bin/env python3
"""Turns the SegNet tutorial's CamVid into COCO-panoptic form.

Things are connected components of the semantic labels, an approximation. Reads and writes
$DETECTRON2_DATASETS/camvid unless --source and --output say otherwise; safe to rerun.
"""

from __future__ import annotations

import sys

from freeseg.data.datasets.roots import datasets_root
from freeseg.data.prepare.camvid import prepare_camvid
from freeseg.data.prepare.job import run

if __name__ == "__main__":
    sys.exit(run({"panoptic": prepare_camvid}, __doc__, datasets_root() / "camvid"))

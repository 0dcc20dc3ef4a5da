#!/usr/bin/env python3
"""Turns the SegNet tutorial's CamVid into COCO-panoptic form.

Things are connected components of the semantic labels, an approximation. Reads and writes
$DETECTRON2_DATASETS/camvid unless --source and --output say otherwise; safe to rerun.

The same as `freeseg prepare camvid`.
"""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "camvid", *sys.argv[1:]]))

#!/usr/bin/env python3
"""Prepares COCO 2017: semantic PNGs and instances of the panoptic annotation, and COCO-Stuff.

Reads and writes $DETECTRON2_DATASETS/coco unless --source and --output say otherwise; safe to
rerun. docs/datasets.md says what must be there.

The same as `freeseg prepare coco`.
"""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "coco", *sys.argv[1:]]))

#!/usr/bin/env python3
"""Prepares Pascal VOC 2012 segmentation: label PNGs with and without the background class.

Reads and writes $DETECTRON2_DATASETS/VOC2012 unless --source and --output say otherwise; safe to
rerun. docs/datasets.md says what must be there.

The same as `freeseg prepare voc`.
"""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "voc", *sys.argv[1:]]))

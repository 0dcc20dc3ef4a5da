#!/usr/bin/env python3
"""Prepares Cityscapes fine: labelTrainIds PNGs and the COCO-panoptic annotation.

Reads and writes $DETECTRON2_DATASETS/cityscapes unless --source and --output say otherwise; safe
to rerun. docs/datasets.md says what must be there.

The same as `freeseg prepare cityscapes`.
"""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "cityscapes", *sys.argv[1:]]))

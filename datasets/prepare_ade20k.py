#!/usr/bin/env python3
"""Prepares ADE20K (SceneParse150): semantic labels from 0, instance JSON, panoptic annotation.

Reads and writes $DETECTRON2_DATASETS/ADEChallengeData2016 unless --source and --output say
otherwise; safe to rerun. docs/datasets.md says what must be there.

The same as `freeseg prepare ade20k`.
"""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "ade20k", *sys.argv[1:]]))

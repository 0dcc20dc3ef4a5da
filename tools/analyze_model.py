#!/usr/bin/env python3
"""Prints how many parameters a model has and how much it computes, by its parts.

tools/analyze_model.py --model camvid [--size 480x640]
tools/analyze_model.py --config-file configs/mask2former/coco/panoptic_R50.yaml --size 800x1333

The same as `freeseg analyze-model`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["analyze-model", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

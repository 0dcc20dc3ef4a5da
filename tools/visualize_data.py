#!/usr/bin/env python3
"""Draws pictures of a dataset with their annotation, to see that it was read rightly.

tools/visualize_data.py --dataset shapes_val_panoptic [--number 8] [--output output/data]
tools/visualize_data.py --config-file mine.yaml      # the training set of a configuration

The same as `freeseg visualize-data`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["visualize-data", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

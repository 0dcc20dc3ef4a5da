#!/usr/bin/env python3
"""Draws pictures of a dataset twice: its annotation at the left, a model's result at the right.

tools/visualize_results.py --model camvid [--dataset NAME] [--number 8] [--output output/results]

The same as `freeseg visualize-results`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["visualize-results", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

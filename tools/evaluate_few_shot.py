#!/usr/bin/env python3
"""Evaluates a model on PASCAL-5i, COCO-20i or FSS-1000.

tools/evaluate_few_shot.py --config-file FILE.yaml --benchmark pascal_5i --root DIR [KEY VALUE ...]

The same as `freeseg evaluate-few-shot`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["evaluate-few-shot", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Learns an example for SegGPT on a data set.

tools/tune_prompt.py --model MODEL --dataset NAME --classes 'road, car' --output street.safetensors

The same as `freeseg tune-prompt`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["tune-prompt", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

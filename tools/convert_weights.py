#!/usr/bin/env python3
"""Converts weights of another release into a checkpoint for this package.

tools/convert_weights.py --from freeseg model_final.pth --output converted.pth

The same as `freeseg convert`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["convert", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

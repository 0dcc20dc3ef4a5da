#!/usr/bin/env python3
"""Compares a system with stored outputs of its original; exits 0 if all are within tolerance.

tools/check_parity.py --system freeseg --golden FOLDER [--tol 1e-4]

The same as `freeseg check-parity`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["check-parity", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

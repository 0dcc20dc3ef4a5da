#!/usr/bin/env python3
"""Asks a model that reads labels for labels that are there, that are not, and in other words.

tools/measure_behaviour.py --config-file FILE.yaml --probes PROBES.json [--limit N] [KEY VALUE ...]

The same as `freeseg measure-behaviour`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["measure-behaviour", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

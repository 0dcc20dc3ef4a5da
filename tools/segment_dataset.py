#!/usr/bin/env python3
"""Segments folders, lists and tar shards of any size; can be killed and started again.

tools/segment_dataset.py SOURCE ... --config-file FILE --weights FILE --out FOLDER

The same as `freeseg segment-dataset`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["segment-dataset", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

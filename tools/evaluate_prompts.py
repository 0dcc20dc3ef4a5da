#!/usr/bin/env python3
"""Asks CLIP for the classes of a test set's annotated regions, under FreeSeg's prompts.

tools/evaluate_prompts.py --config-file FILE.yaml [--limit N] [--output FILE] [KEY VALUE ...]

The same as `freeseg evaluate-prompts`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["evaluate-prompts", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

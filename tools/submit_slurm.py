#!/usr/bin/env python3
"""Submits a training job to SLURM; after -- come the arguments of tools/train_net.py.

tools/submit_slurm.py --nodes 2 --processes 8 --partition gpu -- --config-file FILE.yaml

The same as `freeseg submit-slurm`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["submit-slurm", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

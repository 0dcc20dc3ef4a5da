#!/usr/bin/env python3
"""Tries bad inputs at random and kills jobs at random moments; prints what came of it.

tools/stress.py [--seconds 60] [--kills 10] [--seed 0]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from stress_rows import bad_inputs, killed_bulk_job


def main() -> int:
    """Prints a table; the exit code is 1 when anything was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60, help="of each kind of bad input")
    parser.add_argument("--kills", type=int, default=10, help="of a bulk job, with SIGKILL")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| what | tried | refused in one line | used | wrong |\n|---|---|---|---|---|")
    wrong = 0
    for name, count in bad_inputs.run(args.seconds, args.seed):
        print(f"| {name} | {count.tried} | {count.refused} | {count.used} | {count.wrong} |")
        wrong += count.wrong
    if args.kills:
        survived, photos, lost, twice = killed_bulk_job.run(args.kills, args.seed)
        print(
            f"\nA bulk job over {photos} photos was killed {args.kills} times and survived "
            f"{survived}: {lost} photos lost, {twice} done twice"
        )
        wrong += args.kills - survived + lost + twice
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

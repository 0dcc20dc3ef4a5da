#!/usr/bin/env python3
"""Times the parts of this project against others that compute the same, as ratios.

Both sides run in turns in one process, after their outputs were found equal; figures are medians.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
from benchmark_rows import evaluation, models, operator, postprocessing, requests, run, training

PARTS = (operator, models, postprocessing, requests, evaluation, training)
ROWS = {row.name: row for part in PARTS for row in part.ROWS}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> int:
    """Prints the table; returns 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="default: all")
    add("--turns", type=int, default=5, help="timed runs of each side (default: %(default)s)")
    add("--threads", type=int, default=2, help="default: %(default)s")
    add("--clock", choices=list(CLOCKS), default="wall", help="cpu: where others use the machine")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    print("| what | against | ours | theirs | ratio | bar |")
    print("|---|---|---|---|---|---|", flush=True)
    missed = 0
    for name in args.rows:
        row = ROWS[name]
        result = run(row, args.turns, CLOCKS[args.clock])
        times = f"{1000 * result.ours:.1f} ms | {1000 * result.theirs:.1f} ms"
        print(f"| {row.what} | {row.against} | {times} | {result.ratio:.1f}x | {row.bar}x |")
        if row.memory_bar:
            sizes = f"{result.our_memory / 2**20:.0f} MiB | {result.their_memory / 2**20:.0f} MiB"
            ratio = f"{result.their_memory / result.our_memory:.1f}x"
            print(f"| its peak memory | | {sizes} | {ratio} | {row.memory_bar}x |")
        sys.stdout.flush()
        missed += not result.reaches(row)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Times the parts of this project against others that compute the same, as ratios.

Both sides run in turns in one process, after their outputs were found equal; figures are medians.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from benchmark_rows import (
    HEAD,
    add_to,
    attention,
    evaluation,
    grounding,
    lines_of,
    models,
    operator,
    postprocessing,
    record_of,
    requests,
    run,
    seggpt,
    training,
)

PARTS = (
    operator,
    attention,
    models,
    grounding,
    seggpt,
    postprocessing,
    requests,
    evaluation,
    training,
)
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
    add("--record", type=Path, metavar="FILE", help="add the results to a JSON file")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    print("\n".join(HEAD), flush=True)
    conditions = {"turns": args.turns, "threads": args.threads, "clock": args.clock}
    missed = 0
    for name in args.rows:
        row = ROWS[name]
        result = run(row, args.turns, CLOCKS[args.clock])
        record = record_of(row, result, **conditions)
        print("\n".join(lines_of(record)), flush=True)
        if args.record:
            add_to(args.record, {name: record}, list(ROWS))
        missed += not result.reaches(row)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

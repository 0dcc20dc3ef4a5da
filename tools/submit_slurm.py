#!/usr/bin/env python3
"""Submits a training job to SLURM; after -- come the arguments of tools/train_net.py.

tools/submit_slurm.py --nodes 2 --processes 8 --partition gpu -- --config-file FILE.yaml
"""

from __future__ import annotations

import argparse
import sys

from detectron2.engine import default_argument_parser
from freeseg.engine.slurm import SlurmSettings, submit


def main() -> int:
    """Submits, and prints the number of the job."""
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("--folder", default="output/slurm", help="logs; every machine must see it")
    add("--cluster", default="slurm", choices=("slurm", "local"))
    add("--nodes", type=int, default=1)
    add("--processes", type=int, default=1, help="on each node, one per GPU")
    add("--minutes", type=int, default=24 * 60)
    add("--partition")
    args = parser.parse_args(words[:cut])
    training = default_argument_parser().parse_args(words[cut + 1 :])
    try:
        job = submit(training, SlurmSettings(**vars(args)))
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"submitted as job {job.job_id}, logs in {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

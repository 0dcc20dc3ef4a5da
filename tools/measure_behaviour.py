#!/usr/bin/env python3
"""Asks a model that reads labels for labels that are there, that are not, and in other words.

tools/measure_behaviour.py --config-file FILE.yaml --probes PROBES.json [--limit N] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measuring import measure_and_print

from freeseg.engine.behaviour import behaviour_table, run_behaviour


def main() -> int:
    """Reads the arguments, asks, and prints the table."""
    parser = argparse.ArgumentParser(
        description="Measures on DATASETS.TEST whether labels are found that are there, whether "
        'others stay away, whether what has no label becomes "other", and whether synonyms and '
        "wider words find the same things."
    )
    parser.add_argument("--probes", type=Path, required=True, help="JSON file of labels to ask for")
    parser.add_argument("--limit", type=int, default=0, help="photos, evenly spread; 0: all")
    return measure_and_print(
        parser,
        lambda cfg, arguments: run_behaviour(cfg, arguments.probes, arguments.limit),
        behaviour_table,
    )


if __name__ == "__main__":
    sys.exit(main())

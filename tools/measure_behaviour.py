#!/usr/bin/env python3
"""Asks a model that reads labels for labels that are there, that are not, and in other words.

tools/measure_behaviour.py --config-file FILE.yaml --probes PROBES.json [--limit N] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import json
import logging
import math
from pathlib import Path

from freeseg.engine import load_config
from freeseg.engine.behaviour import behaviour_table, run_behaviour


def main() -> None:
    """Reads the arguments, asks, and prints the table."""
    parser = argparse.ArgumentParser(
        description="Measures on DATASETS.TEST whether labels are found that are there, whether "
        'others stay away, whether what has no label becomes "other", and whether synonyms and '
        "wider words find the same things."
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--probes", type=Path, required=True, help="JSON file of labels to ask for")
    parser.add_argument("--limit", type=int, default=0, help="photos, evenly spread; 0: all")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ...")
    arguments = parser.parse_args()
    arguments.eval_only = True
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    results = run_behaviour(load_config(arguments), arguments.probes, arguments.limit)
    print(behaviour_table(results))
    if arguments.output:
        known = {name: None if math.isnan(value) else value for name, value in results.items()}
        arguments.output.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Asks CLIP for the classes of a test set's annotated regions, under FreeSeg's prompts.

tools/evaluate_prompts.py --config-file FILE.yaml [--limit N] [--output FILE] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from freeseg.engine import load_config
from freeseg.engine.regions import run_regions
from freeseg.evaluation.regions import regions_table


def main() -> int:
    """Reads the arguments, measures, and prints the table."""
    parser = argparse.ArgumentParser(
        description="Percentages of the annotated regions of DATASETS.TEST that CLIP names right, "
        "among all classes, for seen and unseen things and stuff.",
        epilog="The prompts are those of MODEL.CLIP_ADAPTER.PROMPT_CHECKPOINT, of the prompt "
        "stage or of a whole model, or the templates of PREDEFINED_PROMPT_TEMPLATES.",
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--limit", type=int, default=0, help="photos, evenly spread; 0: all")
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ...")
    arguments = parser.parse_args()
    arguments.eval_only = True
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        results = run_regions(load_config(arguments), arguments.limit)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(regions_table(results))
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

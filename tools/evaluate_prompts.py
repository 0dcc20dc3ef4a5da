#!/usr/bin/env python3
"""Asks CLIP for the classes of a test set's annotated regions, under FreeSeg's prompts.

tools/evaluate_prompts.py --config-file FILE.yaml [--limit N] [--output FILE] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import sys

from measuring import measure_and_print

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
    parser.add_argument("--limit", type=int, default=0, help="photos, evenly spread; 0: all")
    return measure_and_print(
        parser, lambda cfg, arguments: run_regions(cfg, arguments.limit), regions_table
    )


if __name__ == "__main__":
    sys.exit(main())

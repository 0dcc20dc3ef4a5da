"""`freeseg evaluate-clips`: scores of label maps that any method has written of clips."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from freeseg.data import check_registered, register_custom
from freeseg.evaluation import results_table
from freeseg.evaluation.clips import evaluate_folder
from freeseg.files import write_text
from freeseg.systems.building import read_config
from freeseg_command.messages import DONE, say

_EPILOG = """
examples:
  freeseg evaluate-clips results/ --dataset davis_2017_val
  freeseg evaluate-clips results/ --dataset mine --config-file FILE.yaml --output scores.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Judges how objects were followed through the clips of a dataset, by DAVIS's J, F and J&F, "
        "from files RESULTS/CLIP/FRAME.png whose pixels are object numbers."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.evaluate_clips:run")
    add = parser.add_argument
    add("results", type=Path, metavar="RESULTS", help="folder of the folders of clips")
    add("--dataset", required=True, metavar="NAME", help="such as davis_2017_val")
    add("--config-file", metavar="FILE", help="its DATASETS.CUSTOM is registered")
    add("--output", type=Path, metavar="FILE", help="JSON file of the scores, of each object too")


def run(args: argparse.Namespace) -> int:
    """Prints the table and writes the scores."""
    if args.config_file:
        register_custom(read_config(args.config_file, None, None, ()).DATASETS.CUSTOM)
    check_registered([args.dataset])
    if not args.results.is_dir():
        raise ValueError(f"{args.results} is no folder: wanted that of the folders of clips")
    scores = evaluate_folder(args.results, args.dataset)
    say(results_table(scores))
    if args.output:
        write_text(args.output, json.dumps(scores, indent=2) + "\n")
    return DONE

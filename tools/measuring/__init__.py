"""What tools that measure a model have in common: their arguments and how they end."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from freeseg.engine import load_config
from freeseg.files import write_text
from freeseg.model_loading import read_config


def measure_and_print(
    parser: argparse.ArgumentParser,
    measure: Callable[[CfgNode, argparse.Namespace], Mapping[str, Any]],
    table: Callable[[Any], str],
) -> int:
    """Reads the command line, measures, and prints the table.

    Args:
        parser: Has the tool's own arguments; a configuration with overrides and ``--output``, a
            JSON file of the results, where nan is null, are added.
        measure: The results under a configuration and the arguments.
        table: Of the results.

    Returns:
        The exit status: 1 after one line about a file or value that is wrong.
    """
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--output", type=Path, help="JSON file of the results")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ...")
    arguments = parser.parse_args()
    arguments.eval_only = True
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        read_config(arguments.config_file, None, None, arguments.opts)  # says what is wrong
        results = measure(load_config(arguments), arguments)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(results))
    if arguments.output:
        known = {key: None if _is_nan(value) else value for key, value in results.items()}
        write_text(arguments.output, json.dumps(known, indent=2) + "\n")
    return 0


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)

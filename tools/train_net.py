#!/usr/bin/env python3
"""Trains or evaluates a model with Detectron2's usual flags.

tools/train_net.py --config-file configs/... [--num-gpus N] [--resume] [--eval-only] [KEY VALUE ...]
"""

from __future__ import annotations

import sys

from detectron2.engine import default_argument_parser
from freeseg.cli.jobs import start_checked
from freeseg_command.messages import exit_code_of

EPILOG = """
Examples:
  train:             %(prog)s --config-file FILE.yaml
  continue:          %(prog)s --config-file FILE.yaml --resume
  evaluate:          %(prog)s --config-file FILE.yaml --eval-only MODEL.WEIGHTS model.pth
  change the config: %(prog)s --config-file FILE.yaml SOLVER.BASE_LR 0.0002 OUTPUT_DIR output/mine
  8 GPUs:            %(prog)s --config-file FILE.yaml --num-gpus 8
  2 CPU processes:   %(prog)s --config-file FILE.yaml --num-gpus 2 MODEL.DEVICE cpu
"""


def main() -> int:
    """Reads the arguments and starts the job; what is wrong with them costs one line."""
    parser = default_argument_parser(EPILOG)
    parser.set_defaults(dist_url="auto")  # Detectron2's default is one port for all jobs of a user
    parser.set_defaults(errors_are_lines=True)
    args = parser.parse_args()
    return exit_code_of(lambda: start_checked(args), args)


if __name__ == "__main__":
    sys.exit(main())

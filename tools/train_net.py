#!/usr/bin/env python3
"""Trains or evaluates a model with Detectron2's usual flags.

tools/train_net.py --config-file configs/... [--num-gpus N] [--resume] [--eval-only] [KEY VALUE ...]
"""

from __future__ import annotations

from detectron2.engine import default_argument_parser
from freeseg.engine import start_job

EPILOG = """
Examples:
  train:             %(prog)s --config-file FILE.yaml
  continue:          %(prog)s --config-file FILE.yaml --resume
  evaluate:          %(prog)s --config-file FILE.yaml --eval-only MODEL.WEIGHTS model.pth
  change the config: %(prog)s --config-file FILE.yaml SOLVER.BASE_LR 0.0002 OUTPUT_DIR output/mine
  8 GPUs:            %(prog)s --config-file FILE.yaml --num-gpus 8
  2 CPU processes:   %(prog)s --config-file FILE.yaml --num-gpus 2 MODEL.DEVICE cpu
"""


def main() -> None:
    """Reads the arguments and starts the job."""
    parser = default_argument_parser(EPILOG)
    parser.set_defaults(dist_url="auto")  # Detectron2's default is one port for all jobs of a user
    start_job(parser.parse_args())


if __name__ == "__main__":
    main()

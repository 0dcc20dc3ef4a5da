#!/usr/bin/env python3
"""Writes a trained model as ONNX or as a program of torch.export, and compares it with the model.

tools/export_model.py --config-file FILE --weights FILE model.onnx [--size 512 512] [--dynamic]

The same as `freeseg export-model`.
"""

from __future__ import annotations

import sys

from freeseg_command import main as run_command


def main() -> int:
    """Runs the command with the arguments of this program."""
    return run_command(["export-model", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())

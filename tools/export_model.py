#!/usr/bin/env python3
"""Writes a trained model as ONNX or as a program of torch.export, and compares it with the model.

tools/export_model.py --config-file FILE --weights FILE model.onnx [--size 512 512] [--dynamic]
"""

from __future__ import annotations

import argparse
import sys

from freeseg.export import DynamicSize, export_model


def main() -> int:
    """Exports, and prints the largest difference of every output."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    add = parser.add_argument
    add("output", metavar="OUTPUT", help="a path that ends with .onnx or .pt2")
    add("--config-file", required=True, metavar="FILE")
    add("--weights", metavar="FILE", help="default: the configuration's")
    add("--size", nargs=2, type=int, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    add("--batch", type=int, default=1, metavar="N")
    add("--dynamic-batch", action="store_true", help="any number of images")
    add("--dynamic", action="store_true", help="any height and width from 64 to 2048")
    add("--task", default="", choices=("", "semantic", "instance", "panoptic"))
    add("--classes", metavar="LIST", help="for models that take class lists")
    add("--opts", nargs="+", default=[], metavar="KEY VALUE")
    args = parser.parse_args()
    try:
        differences = export_model(
            args.config_file,
            args.weights,
            args.output,
            size=tuple(args.size),
            batch_size=args.batch,
            dynamic=DynamicSize(batch=args.dynamic_batch, sides=args.dynamic),
            task=args.task,
            classes=args.classes,
            opts=args.opts,
        )
    except (ImportError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, difference in differences.items():
        print(f"{name}: within {difference:.1e} of the model")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compares a system with stored outputs of its original; exits 0 if all are within tolerance.

tools/check_parity.py --system freeseg --golden FOLDER [--tol 1e-4]
"""

from __future__ import annotations

import argparse
import sys

from freeseg.parity import SYSTEMS, check_folder


def main() -> int:
    """Reads the arguments, prints one line per stored tensor, and the verdict."""
    parser = argparse.ArgumentParser(
        description="Compares a system with stored outputs of its original. FOLDER holds the "
        "original's config and model.safetensors, and io.safetensors with an input and its "
        "results. Exits 0 if the largest absolute difference of every tensor is within tolerance, "
        "and panoptic maps agree on 99.9 % of the pixels up to segment ids."
    )
    parser.add_argument("--system", required=True, choices=sorted(SYSTEMS))
    parser.add_argument("--golden", required=True, metavar="FOLDER")
    parser.add_argument("--tol", type=float, default=1e-4)
    arguments = parser.parse_args()
    try:
        checks = check_folder(arguments.system, arguments.golden, arguments.tol)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for check in checks:
        print(check)
    failed = [check.name for check in checks if not check.is_ok]
    compared = sum(check.difference is not None for check in checks)
    print(f"{compared - len(failed)} of {compared} compared tensors agree")
    return 1 if failed or not compared else 0


if __name__ == "__main__":
    sys.exit(main())

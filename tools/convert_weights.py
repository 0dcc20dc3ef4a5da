#!/usr/bin/env python3
"""Converts weights of another release into a checkpoint for this package.

tools/convert_weights.py --from freeseg model_final.pth --output converted.pth
"""

from __future__ import annotations

import argparse
import sys

from freeseg.checkpoints import KEY_MAPS, convert_file


def main() -> int:
    """Reads the arguments, converts, and says what became of the keys."""
    systems = "".join(f"\n  {name}: {key_map.source}" for name, key_map in KEY_MAPS.items())
    parser = argparse.ArgumentParser(
        description="Converts weights of another release into a checkpoint for this package.",
        epilog=f"systems:{systems}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help=".pth, .pt, .ckpt, .bin, .safetensors or .pkl")
    parser.add_argument("--from", dest="system", required=True, choices=sorted(KEY_MAPS))
    parser.add_argument("--output", required=True, help=".pth or .safetensors")
    parser.add_argument("--half", action="store_true", help="half precision, in half the room")
    parser.add_argument(
        "--keep",
        nargs="+",
        default=[""],
        metavar="PREFIX",
        help="only weights whose new names begin so: backbone. sem_seg_head.pixel_decoder.",
    )
    arguments = parser.parse_args()
    try:
        conversion = convert_file(
            arguments.system,
            arguments.source,
            arguments.output,
            half=arguments.half,
            keep=arguments.keep,
        )
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for old, new in conversion.renamed.items():
        print(f"{old} -> {new}")
    for key in conversion.dropped:
        print(f"{key} is left out")
    print(
        f"{arguments.output}: {len(conversion.state)} tensors, {len(conversion.renamed)} renamed, "
        f"{len(conversion.dropped)} left out"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Measures by which sign a model tells photos unlike those it has learned from, and from where on.

tools/measure_doubt.py --model NAME --known PHOTO ... --foreign PHOTO ... [--listed LIST.tsv]
    [--report PHOTO ...]

A PHOTO is a file, a folder or a quoted pattern. The threshold is chosen on --foreign alone, and
judged on --known and each of --report.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measuring.doubt import USED, auroc, measure_signs

from freeseg import Segmenter
from freeseg.cli.photos import find_photos
from freeseg_command.messages import exit_code_of


def main() -> None:
    """Measures, and prints a table of signs and what the threshold does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", required=True, help="name or folder, as `freeseg segment` takes it")
    add("--known", nargs="+", required=True, help="photos of the kind that it has learned from")
    add("--foreign", nargs="+", required=True, help="photos of other kinds")
    add("--report", nargs="+", default=(), help="more of other kinds, to judge the threshold on")
    add("--passing", type=float, default=0.02, help="share of --foreign above it (%(default)s)")
    add("--listed", type=Path, help=_LISTED_HELP)
    add("--leave-out", nargs="+", default=(), metavar="NAME", help="files of these names")
    args = parser.parse_args()
    # any threshold: the certainty is asked for where there is one
    segmenter = Segmenter.from_pretrained(args.model, opts=["TEST.UNSURE_BELOW", "1.0"])
    listed = _read_list(args.listed) if args.listed else set()
    groups = {"known": args.known, "foreign": args.foreign}
    groups.update({name: [name] for name in args.report})
    found = {}
    for name, photos in groups.items():
        kept = [path for path in _kept(photos, listed) if path.name not in args.leave_out]
        print(f"{name}: {len(kept)} photos", file=sys.stderr)
        found[name] = measure_signs(segmenter, kept)
    others = [name for name in found if name != "known"]
    print("| AUROC of known photos against | " + " | ".join(others) + " |")
    print("|---" * (1 + len(others)) + "|")
    for sign, known in found["known"].items():
        figures = [auroc(known, found[name][sign]) for name in others]
        print(f"| {sign} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    threshold = round(float(np.quantile(found["foreign"][USED], 1 - args.passing)), 3)
    print(f"\nunsure below {threshold:g} ({USED}):")
    for name, signs in found.items():
        values = signs[USED]
        print(f"{name}: {int((values < threshold).sum())} of {len(values)} unsure")


def _read_list(path: Path) -> set[Path]:
    """The photos in the first column of a table with a heading."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {(path.parent / line.split("\t")[0]).resolve() for line in lines}


def _kept(photos: Sequence[str], listed: set[Path]) -> list[Path]:
    """The photos, of folders that the list names photos of only these."""
    folders = {path.parent for path in listed}
    paths = [Path(photo).resolve() for photo in find_photos(photos)]
    return [path for path in paths if path.parent not in folders or path in listed]


_LISTED_HELP = (
    "table whose first column names photos; of folders that it names photos of, only they"
)

if __name__ == "__main__":
    sys.exit(exit_code_of(main))

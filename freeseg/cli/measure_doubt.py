"""`freeseg measure-doubt`: from which certainty on a model is to call photos unsure."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from freeseg import Segmenter
from freeseg.cli.photos import find_photos
from freeseg.evaluation.doubt import USED, auroc, measure_signs
from freeseg_command.messages import DONE, complain, say, share

_EPILOG = """
example:
  freeseg measure-doubt --model output/mine --known my_val/ --foreign holiday_photos/
  freeseg segment photo.jpg --model output/mine --opts TEST.UNSURE_BELOW 0.7

A PHOTO is a file, a folder or a quoted pattern. The threshold is chosen on --foreign alone, and
judged on --known and each of --report.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Measures by which sign a model tells photos unlike those that it has learned from, and "
        "from which certainty on: the value for TEST.UNSURE_BELOW."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.measure_doubt:run")
    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="as of `freeseg segment`")
    add("--known", nargs="+", required=True, metavar="PHOTO", help="of the kind of its training")
    add("--foreign", nargs="+", required=True, metavar="PHOTO", help="of other kinds")
    add("--report", nargs="+", default=(), metavar="PHOTO", help="more, to judge it on")
    add("--passing", type=share, default=0.02, help="share of --foreign above it (%(default)s)")
    add("--listed", type=Path, metavar="FILE", help=_LISTED_HELP)
    add("--leave-out", nargs="+", default=(), metavar="NAME", help="files of these names")


_LISTED_HELP = (
    "table whose first column names photos; of folders that it names photos of, only they"
)


def run(args: argparse.Namespace) -> int:
    """Measures, and prints a table of signs and what the threshold does."""
    # any threshold: the certainty is asked for where there is one
    segmenter = Segmenter.from_pretrained(args.model, opts=["TEST.UNSURE_BELOW", "1.0"])
    listed = _read_list(args.listed) if args.listed else set()
    groups = {"known": args.known, "foreign": args.foreign}
    groups.update({name: [name] for name in args.report})
    found = {}
    for name, photos in groups.items():
        kept = [path for path in _kept(photos, listed) if path.name not in args.leave_out]
        complain(f"{name}: {len(kept)} photos")
        if not kept:
            raise ValueError(f"no photos of {name}: {', '.join(map(str, photos))}")
        found[name] = measure_signs(segmenter, kept)
    others = [name for name in found if name != "known"]
    say("| AUROC of known photos against | " + " | ".join(others) + " |")
    say("|---" * (1 + len(others)) + "|")
    for sign, known in found["known"].items():
        figures = [f"{auroc(known, found[name][sign]):.3f}" for name in others]
        say(f"| {sign} | {' | '.join(figures)} |")
    threshold = round(float(np.quantile(found["foreign"][USED], 1 - args.passing)), 3)
    say(f"\nunsure below {threshold:g} (TEST.UNSURE_BELOW):")
    for name, signs in found.items():
        values = signs[USED]
        say(f"{name}: {int((values < threshold).sum())} of {len(values)} unsure")
    return DONE


def _read_list(path: Path) -> set[Path]:
    """The photos in the first column of a table with a heading."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {(path.parent / line.split("\t")[0]).resolve() for line in lines}


def _kept(photos: Sequence[str], listed: set[Path]) -> list[Path]:
    """The photos, of folders that the list names photos of only these."""
    folders = {path.parent for path in listed}
    paths = [Path(photo).resolve() for photo in find_photos(photos)]
    return [path for path in paths if path.parent not in folders or path in listed]

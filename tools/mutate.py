#!/usr/bin/env python3
"""Changes the behaviour of a file in small ways and prints the changes that no test notices.

tools/mutate.py freeseg/training/matcher.py
tools/mutate.py freeseg/training freeseg/text --sample 0.2 --seed 1 --reach output/reach.json

Every change (a comparison, a sign, a limit, two arguments swapped, a statement left out ...) is
tried on the tests that run its line, those of the mirrored test file first. Which tests run which
line is measured once and kept in --reach; measure again after tests have changed (--measure).
Not part of the test-suite: it needs Linux and Python 3.11 or newer, and minutes per file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutation.changes import Mutant, mutants
from mutation.fresh import FreshProcesses
from mutation.reach import Reach, Tracer
from mutation.trial import KILLED, SURVIVED, UNREACHED, Outcome, Trials

ROOT = Path(__file__).resolve().parents[1]
QUIET = ["-q", "-p", "no:cacheprovider"]


def main() -> int:
    """Prints survivors and a table of files; the exit code is 1 when a change survived."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", help="files or folders of freeseg/")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="folders or files of tests")
    parser.add_argument(
        "--sample",
        type=float,
        default=1.0,
        help="share that is tried",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--patience", type=float, default=60, help="seconds of tests per change")
    parser.add_argument(
        "--reach", type=Path, default=Path("output/reach.json"), help="which test runs which line"
    )
    parser.add_argument("--measure", action="store_true", help="measure --reach of PATHS and stop")
    parser.add_argument("--record", type=Path, help="a JSON line for every change, too")
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)  # the copy it works in
    args = parser.parse_args()
    if args.root is None:
        return _in_a_copy(args)
    return _measure(args) if args.measure else _try(args)


def _in_a_copy(args: argparse.Namespace) -> int:
    """Runs this program again on a copy of the repository, so that nobody meets a changed file."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--measure"]
    arguments += ["--reach", str(args.reach.resolve())]
    if args.record:
        arguments += ["--record", str(args.record.resolve())]
    with tempfile.TemporaryDirectory(prefix="mutate_") as folder:
        copy = Path(folder, "main")
        _copy_repository(copy)
        environment = os.environ | {
            "PYTHONPATH": f"{copy}:{copy / 'd2lite'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": folder,
        }
        command = [sys.executable, str(copy / "tools/mutate.py"), "--root", str(copy), *arguments]
        code = 0
        if args.measure or not args.reach.is_file():
            code = subprocess.run([*command, "--measure"], cwd=copy, env=environment).returncode
        if not (code or args.measure):
            code = subprocess.run(command, cwd=copy, env=environment).returncode
    return code


def _copy_repository(copy: Path) -> None:
    """What git knows or would add, what was compiled, and the data beside the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    if (ROOT / "freeseg/ops/lib").is_dir():
        shutil.copytree(ROOT / "freeseg/ops/lib", copy / "freeseg/ops/lib")
    if (ROOT.parent / "shared").is_dir():
        (copy.parent / "shared").symlink_to((ROOT.parent / "shared").resolve())


def _measure(args: argparse.Namespace) -> int:
    tracer = Tracer(args.root, args.paths)
    pytest.main([*QUIET, *args.tests], plugins=[tracer])
    reach = tracer.reach()
    args.reach.parent.mkdir(parents=True, exist_ok=True)
    reach.write(args.reach)
    print(f"{len(reach.seconds)} tests run {len(reach.lines)} of the files: {args.reach}")
    if tracer.failed:
        print("failed without a change, not used:", *sorted(tracer.failed), sep="\n  ")
    return 0


def _try(args: argparse.Namespace) -> int:
    outcomes: list[Outcome] = []

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if outcome.fate != KILLED:
            place = f"{outcome.file}:{outcome.mutant.line}"
            print(f"{place}: {outcome.fate}: {outcome.mutant.change}", flush=True)
        if args.record:
            with args.record.open("a") as record:
                record.write(json.dumps(asdict(outcome)) + "\n")

    reach = Reach.read(args.reach)
    fresh = FreshProcesses()
    plugin = Trials(args.root, _changes(args), reach, args.patience, fresh, tell)
    pytest.main([*QUIET, "-s", "--no-header", "--no-summary", *reach.files()], plugins=[plugin])
    _print_table(outcomes)
    return 1 if any(outcome.fate != KILLED for outcome in outcomes) else 0


def _changes(args: argparse.Namespace) -> list[tuple[str, Mutant]]:
    """The sample; a change is in it or not whatever else a file holds."""
    paths = [args.root / given for given in args.paths]
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))}
    drawn = []
    for file in sorted(files):
        name = file.relative_to(args.root).as_posix()
        seen: Counter[str] = Counter()
        for mutant in mutants(file.read_text()):
            seen[mutant.change] += 1
            key = f"{args.seed} {name} {mutant.change} {seen[mutant.change]}"
            if zlib.crc32(key.encode()) < args.sample * 2**32:
                drawn.append((name, mutant))
    return drawn


def _print_table(outcomes: list[Outcome]) -> None:
    print("\n| file | changes | noticed | not noticed | never run | % |\n|---|---|---|---|---|---|")
    rows = Counter((outcome.file, outcome.fate) for outcome in outcomes)
    for file in [*sorted({outcome.file for outcome in outcomes}), "all"]:
        counts = [
            sum(
                count
                for (name, which), count in rows.items()
                if file in (name, "all") and which == fate
            )
            for fate in (KILLED, SURVIVED, UNREACHED)
        ]
        share = 100 * counts[0] / max(1, sum(counts))
        print(f"| {file} | {sum(counts)} | {' | '.join(map(str, counts))} | {share:.1f} |")


if __name__ == "__main__":
    sys.exit(main())

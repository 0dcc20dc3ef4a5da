#!/usr/bin/env python3
"""Tables in documents: of systems, from the catalogue of models, and of speed, as it was recorded.

tools/document_tables.py --check README.md docs/ops.md   # exits 1 when a table is not current
tools/document_tables.py --write README.md docs/ops.md   # puts them between their marks
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from benchmark_rows import recorded_ratios, recorded_table

from freeseg.files import write_text
from freeseg.zoo import load_catalog
from freeseg_command.catalog import CATALOG_FILE
from freeseg_command.table import systems_table

DOCS = Path(__file__).resolve().parents[1] / "docs"
SPEED_FILES = {"speed": DOCS / "speed.json", "speed-avx2": DOCS / "speed_avx2.json"}
NAMES = "|".join(["systems", *SPEED_FILES])
MARKS = re.compile(rf"(<!-- ({NAMES}): .*? -->\n)(.*?)(\n<!-- /\2 -->)", re.DOTALL)


def main() -> int:
    """Writes or checks the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    action = parser.add_mutually_exclusive_group(required=True)
    for name in ("--write", "--check"):
        action.add_argument(name, type=Path, metavar="FILE", nargs="+")
    args = parser.parse_args()
    speeds = {
        mark: json.loads(path.read_text(encoding="utf-8")) for mark, path in SPEED_FILES.items()
    }
    systems = json.loads(CATALOG_FILE.read_text(encoding="utf-8"))["systems"]
    cards = load_catalog().values()
    tables = {
        "systems": systems_table(systems, cards, recorded_ratios(speeds["speed"])),
        **{mark: recorded_table(speed) for mark, speed in speeds.items()},
    }
    wrong = 0
    for path in args.write or args.check:
        text = path.read_text(encoding="utf-8")
        if not MARKS.search(text):
            print(
                f"{path} has none of the marks <!-- {': -->, <!-- '.join(tables)}: -->",
                file=sys.stderr,
            )
            wrong += 1
            continue
        new = MARKS.sub(lambda match: match[1] + tables[match[2]] + match[4], text)
        if args.write:
            write_text(path, new)
        elif new != text:
            print(f"{path}: its table is not current, run with --write", file=sys.stderr)
            wrong += 1
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())

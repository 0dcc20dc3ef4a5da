#!/usr/bin/env python3
"""README's table of systems, from the catalogue of models.

tools/systems_table.py                       # prints it
tools/systems_table.py --write README.md     # puts it between the marks
tools/systems_table.py --check README.md     # exits 1 when it is not what stands there
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from freeseg.zoo import load_catalog
from freeseg.zoo.catalog import CATALOG_FILE
from freeseg.zoo.table import systems_table

MARKS = re.compile(r"(<!-- systems: .*? -->\n)(.*?)(\n<!-- /systems -->)", re.DOTALL)


def main() -> int:
    """Prints, writes or checks the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--check", type=Path, metavar="FILE")
    args = parser.parse_args()
    systems = json.loads(CATALOG_FILE.read_text(encoding="utf-8"))["systems"]
    table = systems_table(systems, load_catalog().values())
    path = args.write or args.check
    if path is None:
        print(table)
        return 0
    text = path.read_text(encoding="utf-8")
    if not MARKS.search(text):
        print(f"{path} has no marks <!-- systems: ... --> and <!-- /systems -->", file=sys.stderr)
        return 1
    new = MARKS.sub(lambda match: match[1] + table + match[3], text)
    if args.write:
        path.write_text(new, encoding="utf-8")
    elif new != text:
        print(f"{path}: the table of systems is not current, run with --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes `python -m freeseg` the same as the `freeseg` command."""

from __future__ import annotations

import sys

from freeseg.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""Makes `python -m freeseg_command` the same as the `freeseg` command."""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main())

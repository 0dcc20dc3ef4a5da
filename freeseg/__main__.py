"""Makes `python -m freeseg` the same as the `freeseg` command."""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    if not hasattr(sys.modules["freeseg"], "Segmenter"):
        del sys.modules["freeseg"]  # the empty one that stood in for it, see there
    sys.exit(main())

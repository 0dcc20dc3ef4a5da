"""Where this package keeps files of its own."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "FREESEG_CACHE"


def cache_root() -> Path:
    """$FREESEG_CACHE, else a folder in the user's cache."""
    root = os.getenv(VARIABLE)
    if root:
        return Path(root).expanduser()
    return Path(os.getenv("XDG_CACHE_HOME") or "~/.cache").expanduser() / "freeseg"

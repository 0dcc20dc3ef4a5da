"""The folders under which datasets lie."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "DETECTRON2_DATASETS"


def datasets_root() -> Path:
    """The folder of all datasets: $DETECTRON2_DATASETS, else ./datasets, as in Detectron2."""
    return Path(os.getenv(VARIABLE) or "datasets").expanduser()


def generated_root() -> Path:
    """The folder of generated datasets: $DETECTRON2_DATASETS, else the user's cache folder."""
    if os.getenv(VARIABLE):
        return datasets_root()
    return Path(os.getenv("XDG_CACHE_HOME") or "~/.cache").expanduser() / "freeseg"

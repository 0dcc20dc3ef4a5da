"""Registers every known dataset under one root."""

from __future__ import annotations

import os
from pathlib import Path

from freeseg.data.datasets.camvid import register_camvid


def register_all(root: str | os.PathLike[str]) -> None:
    """(Re-)register all datasets with their files under `root`; reads nothing from the disk."""
    folder = Path(root).expanduser()
    register_camvid(folder)

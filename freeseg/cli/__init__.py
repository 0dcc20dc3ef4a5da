"""The `freeseg` command: segments photos and videos, and lists, tests, trains and serves models."""

from freeseg.cli.photos import find_photos, unique_stems
from freeseg.cli.program import main

__all__ = ["find_photos", "main", "unique_stems"]

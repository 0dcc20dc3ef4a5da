"""The `freeseg` command: segments photos and videos, and lists, tests, trains and serves models."""

from freeseg.cli.photos import find_photos
from freeseg.cli.program import main
from freeseg.data.photos import unique_stems

__all__ = ["find_photos", "main", "unique_stems"]

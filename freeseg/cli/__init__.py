"""What the commands of `freeseg` do; `freeseg_command` has their arguments and runs them."""

from freeseg.cli.photos import find_photos
from freeseg.data.photos import unique_stems
from freeseg_command import main

__all__ = ["find_photos", "main", "unique_stems"]

"""What the commands of `freeseg` do; `freeseg_command` has their arguments and runs them."""

from freeseg.cli.photos import find_photos
from freeseg.data.photos import unique_stems
from freeseg.release_names import register_release_names
from freeseg_command import main

register_release_names()  # a process that runs commands is nobody else's

__all__ = ["find_photos", "main", "unique_stems"]

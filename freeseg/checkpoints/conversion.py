"""Converts one checkpoint file into another."""

from __future__ import annotations

from pathlib import Path

from freeseg.checkpoints.key_map import Conversion
from freeseg.checkpoints.reading import read_checkpoint
from freeseg.checkpoints.systems import KEY_MAPS
from freeseg.checkpoints.writing import write_checkpoint


def convert_file(
    system: str, source: str | Path, output: str | Path, *, half: bool = False
) -> Conversion:
    """Reads the weights of a release and writes them under our names.

    Args:
        system: A key of `KEY_MAPS`.
        source: What `read_checkpoint` reads.
        output: What `write_checkpoint` writes.
        half: Of `write_checkpoint`.

    Raises:
        ValueError: On an unknown system, or a file that cannot be used.
        FileNotFoundError: Where `source` does not exist.
    """
    if system not in KEY_MAPS:
        raise ValueError(f"wanted one of {', '.join(KEY_MAPS)}, got {system!r}")
    conversion = KEY_MAPS[system].convert(read_checkpoint(source))
    write_checkpoint(conversion.state, output, half=half)
    return conversion

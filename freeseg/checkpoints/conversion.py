"""Converts one checkpoint file into another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from freeseg.checkpoints.key_map import Conversion, State
from freeseg.checkpoints.reading import read_checkpoint, refuse_nan
from freeseg.checkpoints.systems import KEY_MAPS, detect_system
from freeseg.checkpoints.writing import write_checkpoint


def convert_file(
    system: str,
    source: str | Path,
    output: str | Path,
    *,
    half: bool = False,
    keep: Sequence[str] = ("",),
    classes: list[dict[str, Any]] | None = None,
) -> Conversion:
    """Reads the weights of a release and writes them under our names.

    Args:
        system: A key of `KEY_MAPS`.
        source: What `read_checkpoint` reads.
        output: What `write_checkpoint` writes.
        half: Of `write_checkpoint`.
        keep: What our names of the weights to keep begin with, as those of an encoder to which a
            new head is trained.
        classes: Of `write_checkpoint`.

    Raises:
        ValueError: On an unknown system, a file of another one or one that cannot be used, also of
            weights that are no numbers, or when nothing is kept.
        FileNotFoundError: Where `source` does not exist.
    """
    state = read_checkpoint(source)
    refuse_nan(state, source)
    conversion = convert_state(system, state, source)
    kept = {key: value for key, value in conversion.state.items() if key.startswith(tuple(keep))}
    if not kept:
        raise ValueError(f"no weight's name begins with {' or '.join(keep)}")
    left_out = tuple(key for key in conversion.state if key not in kept)
    write_checkpoint(kept, output, half=half, classes=classes)
    return replace(conversion, state=kept, dropped=(*conversion.dropped, *left_out))


def convert_state(system: str, state: State, source: str | Path) -> Conversion:
    """The weights of a release under our names.

    Args:
        system: A key of `KEY_MAPS`.
        state: Weights by the release's names.
        source: Where they come from, for messages.

    Raises:
        ValueError: On an unknown system, or names that are another's.
    """
    if system not in KEY_MAPS:
        raise ValueError(f"wanted one of {', '.join(KEY_MAPS)}, got {system!r}")
    found = detect_system(state)
    if found != system:
        raise ValueError(
            f"{source} is not of {system}: its weights are named as those of "
            f"{found or 'no known release'}, such as {min(state)}"
        )
    return KEY_MAPS[system].convert(state)

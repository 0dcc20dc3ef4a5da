"""Key maps by system: one row per release whose weights can be converted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from freeseg.checkpoints.key_map import KeyMap

_key_maps: dict[str, KeyMap] = {}

KEY_MAPS: Mapping[str, KeyMap] = _key_maps  # in the order in which they are tried


def register_key_map(release: str, key_map: KeyMap) -> None:
    """Makes weights of a release known under a name."""
    rows = sorted([*_key_maps.items(), (release, key_map)], key=lambda row: row[1].rank)
    _key_maps.clear()
    _key_maps.update(rows)


def detect_system(keys: Iterable[str]) -> str | None:
    """Whose weights these are, by their names; None when it is none of `KEY_MAPS`."""
    names = list(keys)
    for system, key_map in KEY_MAPS.items():
        if any(re.match(key_map.mark, name) for name in names):
            return system
    return None

"""Published divisions of class lists into seen and unseen, kept as JSON files beside this one."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.data.categories import load_categories


@dataclass(frozen=True)
class ClassSplit:
    """Which classes of a table are kept from training.

    Attributes:
        table: Name of the category table, see `freeseg.data.categories`.
        unseen: Names of the unseen classes; all others are seen.
        source: Where the division was published.
    """

    table: str
    unseen: tuple[str, ...]
    source: str


@functools.cache
def load_split(name: str) -> ClassSplit:
    """A division by its name ("ade20k_135_15")."""
    path = Path(__file__).with_name(f"{name}.json")
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.json"))
        raise ValueError(f"no split {name!r}; known splits are {', '.join(known)}")
    content = json.loads(path.read_text(encoding="utf-8"))
    split = ClassSplit(content["table"], tuple(content["unseen"]), content["source"])
    names = {row.name for row in load_categories(split.table)}
    foreign = sorted(set(split.unseen) - names)
    if foreign:
        raise ValueError(f"split {name}: {', '.join(foreign)} is not in the table {split.table}")
    return split


def split_metadata(names: Sequence[str], unseen: Collection[str]) -> dict[str, Any]:
    """Metadata of a class list: the names of both parts, and a flag per class, 1 for seen."""
    return {
        "evaluation_set": {
            "seen": [name for name in names if name not in unseen],
            "unseen": [name for name in names if name in unseen],
        },
        "trainable_flag": [int(name not in unseen) for name in names],
    }

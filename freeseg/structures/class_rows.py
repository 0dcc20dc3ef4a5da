"""Class lists of models as JSON: the rows of a classes.json."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from freeseg.structures.vocabulary import Vocabulary

CLASSES_KEY = "classes"  # of a checkpoint: the rows of its classes.json
CLASSES_FILE = "classes.json"  # beside a checkpoint: the classes it was trained on


def class_rows(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """A class list as `read_class_rows` reads it: JSON objects in the order of the classes."""
    ids = vocabulary.dataset_ids or (None,) * len(vocabulary)
    rows: list[dict[str, Any]] = []
    for label, name in enumerate(vocabulary.names):
        category = label if ids[label] is None else ids[label]
        row: dict[str, Any] = {"id": category, "name": name}
        row["isthing"] = int(vocabulary.is_thing[label])
        if vocabulary.is_seen is not None:
            row["seen"] = int(vocabulary.is_seen[label])
        if vocabulary.synonyms[label] != (name,):
            row["synonyms"] = list(vocabulary.synonyms[label])
        rows.append(row)
    return rows


def read_class_rows(path: Path) -> Vocabulary:
    """The classes in a JSON file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no class list.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    return vocabulary_of_rows(rows, str(path))


def vocabulary_of_rows(rows: Any, source: str) -> Vocabulary:
    """The classes of such rows; "isthing" is 1 and "id" the row's number where they are not there.

    Raises:
        ValueError: They are no class list; names the source.
    """
    try:
        return _vocabulary(rows)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{source}: a class list is a list of rows {{"id": 0, "name": "cat", "isthing": 1}} '
            f"({type(error).__name__}: {error})"
        ) from error


def _vocabulary(rows: Any) -> Vocabulary:
    if not isinstance(rows, list) or not rows:
        raise ValueError("found none")
    names = tuple(row["name"] for row in rows)
    ids = tuple(int(row.get("id", label)) for label, row in enumerate(rows))
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("every class needs a name")
    for what, values in (("name", names), ("id", ids)):
        twin, count = Counter(values).most_common(1)[0]
        if count > 1:
            raise ValueError(f"two classes have the same {what}, {twin!r}")
    is_flagged = any("seen" in row for row in rows)
    return Vocabulary(
        names,
        tuple(bool(row.get("isthing", 1)) for row in rows),
        tuple(bool(row.get("seen", True)) for row in rows) if is_flagged else None,
        tuple(tuple(row.get("synonyms") or (row["name"],)) for row in rows),
        dataset_ids=ids,
    )

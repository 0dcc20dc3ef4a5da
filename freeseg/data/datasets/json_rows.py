"""Reads annotation JSON files, and refuses what is missing in them before it is used."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]

TYPE_NAMES: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    list: "a list",
    dict: "an object",
    Hashable: "a number or a text",
}


def read_json(path: Path, hint: str) -> Any:
    """Content of a JSON file.

    Raises:
        MissingDataError: When there is none; the message says what to do.
        ValueError: When it is no JSON, or was cut off.
    """
    require_file(path, hint)
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:  # wrong text or wrong encoding
        raise ValueError(f"{path} is no JSON, or was cut off: {error}") from error


class MissingDataError(FileNotFoundError):
    """Files of a dataset are not where they are looked for; the message says what to do."""


def require_file(path: str | Path, hint: str) -> None:
    """Raise MissingDataError with a hint unless `path` is a file."""
    if not os.path.isfile(path):
        raise MissingDataError(f"{path} does not exist; {hint}")


def rows_of(content: Any, key: str, fields: Mapping[str, type], source: Path) -> list[Json]:
    """The list `key` of a JSON object, whose rows have at least these fields.

    Args:
        content: Of the whole file.
        key: Of the list.
        fields: Name and type of what every row must have.
        source: The file, for messages.

    Raises:
        ValueError: When it is no such list; names the first row that is wrong and why.
    """
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise ValueError(f"{source} has no list {key!r}")
    for number, row in enumerate(rows):
        check_row(row, fields, f"{source}: {key}[{number}]")
    return rows


def check_row(row: Any, fields: Mapping[str, type], name: str) -> None:
    """Refuses a row that is no object or lacks one of the fields.

    Raises:
        ValueError: Naming the row and the field.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{name} must be an object, got {type(row).__name__}")
    for field, kind in fields.items():
        value = row.get(field)
        if value is None or not isinstance(value, kind):
            got = "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
            raise ValueError(f"{name} needs {field!r}, {TYPE_NAMES[kind]}, got {got}")


def check_known(row: Mapping[str, Any], fields: Mapping[str, type], name: str) -> None:
    """Refuses a row that has one of the fields with another type; it may lack them.

    Raises:
        ValueError: Naming the row and the field.
    """
    check_row(row, {key: kind for key, kind in fields.items() if key in row}, name)


def refuse_twins(rows: list[Json], key: str, name: str) -> None:
    """Refuses rows with one id: which of them is meant cannot be known.

    Raises:
        ValueError: With the first id that comes twice.
    """
    seen = set()
    for row in rows:
        if not isinstance(row[key], Hashable):
            raise ValueError(f"{name} have no number or text as {key}: {row[key]!r:.40}")
        if row[key] in seen:
            raise ValueError(f"{name} have the {key} {row[key]!r} twice; ids must be unique")
        seen.add(row[key])

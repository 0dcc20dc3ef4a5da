"""Reads annotation JSON files, and refuses what is missing in them before it is used."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from freeseg.data.problems import Problems

Json = dict[str, Any]


class FileName(str):
    """Stands for the kind of a text that is not empty."""


TYPE_NAMES: Mapping[type, str] = {
    str: "a text",
    FileName: "the name of a file",
    int: "a whole number",
    list: "a list",
    dict: "an object",
    bool: "true, false, 1 or 0",
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

    is_about_data = True  # see `freeseg_command.messages.exit_code_of`


def require_file(path: str | Path, hint: str) -> None:
    """Raise MissingDataError with a hint unless `path` is a file."""
    if not os.path.isfile(path):
        raise MissingDataError(f"{path} does not exist; {hint}")


def require_some(paths: Iterable[str], hint: str) -> None:
    """Raise MissingDataError with a hint where there are paths and none of them is a file."""
    first = ""
    for path in paths:
        if os.path.isfile(path):
            return
        first = first or path
    if first:
        require_file(first, hint)


def list_of(content: Any, key: str, source: str | Path) -> list[Any]:
    """The list `key` of a JSON object.

    Raises:
        ValueError: When there is no such list.
    """
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise ValueError(f"{source} has no list {key!r}")
    return rows


def rows_of(
    content: Any, key: str, fields: Mapping[str, type], source: Path, problems: Problems
) -> list[Json]:
    """The rows of the list `key` of a JSON object that have at least these fields.

    Args:
        content: Of the whole file.
        key: Of the list.
        fields: Name and type of what every row must have, see `read_field`.
        source: The file, for messages.
        problems: Gets an error for every row that is wrong.

    Raises:
        ValueError: When there is no such list.
    """
    return [row for _, row in numbered_rows_of(content, key, fields, source, problems)]


def numbered_rows_of(
    content: Any, key: str, fields: Mapping[str, type], source: Path, problems: Problems
) -> list[tuple[int, Json]]:
    """The same with their places in the list."""
    rows = []
    collecting = problems.collecting(f"rows of {key}")
    for number, row in enumerate(list_of(content, key, source)):
        with collecting:
            rows.append((number, check_row(row, fields, f"{source}: {key}[{number}]")))
    return rows


def check_row(row: Any, fields: Mapping[str, type], name: str) -> Json:
    """A row with its fields as `read_field` reads them, and all others as they are.

    Raises:
        ValueError: When it is no object or lacks a field; names the row and the field.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{name} must be an object, got {type(row).__name__}")
    return {**row, **{field: read_field(row, field, kind, name) for field, kind in fields.items()}}


def check_known(row: Mapping[str, Any], fields: Mapping[str, type], name: str) -> Json:
    """The same of a row that may lack the fields.

    Raises:
        ValueError: When it has one of another kind; names the row and the field.
    """
    return check_row(row, {key: kind for key, kind in fields.items() if key in row}, name)


def read_field(row: Mapping[str, Any], field: str, kind: type, name: str) -> Any:
    """A row's value of a kind: 3.0 is a whole number, and 0 and 1 are flags; "0" and null are none.

    Raises:
        ValueError: It is of another kind; says row, field, what was found and what is wanted.
    """
    value = row.get(field)
    if type(value) is kind:
        return value
    if kind in (int, bool) and isinstance(value, float) and math.isfinite(value):
        value = int(value) if value.is_integer() else value
    is_of_kind = isinstance(value, kind)
    if kind is bool:
        is_of_kind = isinstance(value, int) and value in (0, 1)
    elif kind is int:
        is_of_kind = is_of_kind and not isinstance(value, bool)
    elif kind is FileName:
        is_of_kind = isinstance(value, str) and bool(value.strip())
    elif kind is Hashable:
        is_of_kind = is_of_kind and isinstance(value, (int, float, str))
    if value is None or not is_of_kind:
        got = "nothing" if field not in row else f"{type(row[field]).__name__} {row[field]!r:.40}"
        raise ValueError(f"{name} needs {field!r}, {TYPE_NAMES[kind]}, got {got}")
    return bool(value) if kind is bool else value


def without_twins(rows: list[Json], key: str, name: str, problems: Problems) -> list[Json]:
    """Rows whose ids are unique: which of two with one id is meant cannot be known.

    Args:
        rows: With the field `key`.
        key: Of the ids.
        name: Of the rows, for messages.
        problems: Gets an error for every id that comes again.
    """
    first: dict[Any, Json] = {}
    for row in rows:
        if row[key] in first:
            problems.error(
                f"a {key} twice", f"{name} have the {key} {row[key]!r} twice; ids must be unique"
            )
        first.setdefault(row[key], row)
    return list(first.values())


class ListedImages:
    """The ids of a JSON's images, also of rows that cannot be used."""

    def __init__(self, content: Any) -> None:
        rows = content.get("images") or [] if isinstance(content, dict) else []
        ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
        self._ids = {each for each in ids if isinstance(each, (int, float, str))}
        self._are_known = len(self._ids) > 0 and all(
            isinstance(each, (int, float, str)) for each in ids
        )
        self._by_text = {str(each): each for each in self._ids}

    def refuse_unknown(self, image_id: Any, name: str) -> None:
        """Refuses the image of an annotation that is not listed.

        Where rows of images have no id, or there are no rows, nobody knows which ones are.

        Raises:
            ValueError: Names the annotation and the image, and an id of another type.
        """
        if not self._are_known or image_id in self._ids:
            return
        other = self._by_text.get(str(image_id))
        hint = "which the file does not list"
        if other is not None:
            hint = (
                f"{_type_name(image_id)}, but the file lists the image {other!r:.40}, "
                f"{_type_name(other)}: they must be of one type"
            )
        raise ValueError(f"{name} is of the image {image_id!r:.40}, {hint}")


def _type_name(image_id: Any) -> str:
    return "a text" if isinstance(image_id, str) else "a number"

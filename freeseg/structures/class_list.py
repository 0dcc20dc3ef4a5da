"""Class lists as people write them: names, synonyms, flags.

A class is written as ``name|synonym|synonym: flags``; only the name is needed. Flags are "thing" or
"stuff", and "seen" or "unseen", in any order with commas or blanks between: ``car|automobile``,
``sky: stuff``, ``giraffe: thing unseen``.
"""

from __future__ import annotations

import functools
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEPARATOR = "|"
_FLAGS = {
    "thing": ("is_thing", True),
    "stuff": ("is_thing", False),
    "seen": ("is_seen", True),
    "unseen": ("is_seen", False),
}
_JOINER = "\u200d"  # joins emoji; other invisible characters are dropped


@dataclass(frozen=True)
class ClassEntry:
    """One class as it was written; None stands for what was not said.

    Attributes:
        texts: The name and its synonyms.
        is_thing: Whether it is a countable thing.
        is_seen: Whether a model was trained on it.
    """

    texts: tuple[str, ...]
    is_thing: bool | None = None
    is_seen: bool | None = None

    @property
    def name(self) -> str:
        return self.texts[0]


ClassLike = str | ClassEntry


def read_class_entries(source: str | os.PathLike[str] | Sequence[ClassLike]) -> list[ClassEntry]:
    """Class entries of a list, a text or JSON file, or a string with commas.

    Args:
        source: A sequence of entries; the path of a file (of a string, by .txt or .json at its
            end); or one string such as "car|automobile, sky", with names that have commas in
            double quotes.
            A text file has a class per line; blank lines and what follows "#" at the start of a
            line or after a blank are skipped. A JSON file is a list of such strings, or of objects
            with "name" and perhaps "synonyms", a list, and "isthing" and "seen", true or false.

    Raises:
        ValueError: A class has no name or a field of the wrong kind, or two have the same name or
            synonym; the message says which.
        FileNotFoundError: There is no such file.
    """
    if isinstance(source, os.PathLike):
        return _read_file(Path(source))
    if isinstance(source, str):
        path = Path(source)
        if path.suffix.lower() in (".txt", ".json"):
            return _read_file(path)
        return _checked(parse_class(part) for part in _split(source.replace("\n", ",")))
    return _checked(_entry(item) for item in source)


def _split(text: str) -> list[str]:
    """Parts between commas, but for those in double quotes, as of `"bucket, blue", car`."""
    if text.count('"') % 2:  # inches, say
        return text.split(",")
    parts = re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', text)
    return [re.sub(r'"([^"]*)"', r"\1", part) for part in parts]


def parse_class(text: str) -> ClassEntry:
    """Reads ``name|synonym: flags``; a colon that no flags follow belongs to the name."""
    names, _, tail = text.rpartition(":")
    words = [word for word in re.split(r"[\s,]+", tail.strip().lower()) if word]
    if not names or not words or any(word not in _FLAGS for word in words):
        return ClassEntry(_texts(text))
    values: dict[str, bool] = {}
    for word in words:
        field, value = _FLAGS[word]
        if values.setdefault(field, value) is not value:
            raise ValueError(f"class {text.strip()!r} has two opposite flags")
    return ClassEntry(_texts(names), **values)


@functools.lru_cache(maxsize=2**16)  # a list is read once per image
def clean_name(text: str) -> str:
    """A name in Unicode's composed form without invisible characters and needless blanks."""
    composed = unicodedata.normalize("NFC", text)
    visible = "".join(
        character
        for character in composed
        if character.isspace()
        or character == _JOINER
        or unicodedata.category(character) not in ("Cc", "Cf")
    )
    name = " ".join(visible.split())
    return name if name.strip(_JOINER) else ""


def _entry(item: Any) -> ClassEntry:
    if isinstance(item, ClassEntry):
        return ClassEntry(_texts(SEPARATOR.join(item.texts)), item.is_thing, item.is_seen)
    if isinstance(item, str):
        return parse_class(item)
    if isinstance(item, dict):
        return _from_json(item)
    raise TypeError(f"a class is a string such as 'car|automobile', got {item!r}")


def _from_json(row: dict[str, Any]) -> ClassEntry:
    synonyms = row.get("synonyms", [])
    texts = [row.get("name"), *(synonyms if isinstance(synonyms, list) else [None])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f'a class needs "name", a string, and "synonyms", a list of strings; got {row!r}'
        )
    return ClassEntry(_texts(SEPARATOR.join(texts)), _flag(row, "isthing"), _flag(row, "seen"))


def _flag(row: dict[str, Any], key: str) -> bool | None:
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or value not in (0, 1):  # a bool is an int
        raise ValueError(f'"{key}" of a class is true or false (or 1 or 0); got {row!r}')
    return bool(value)


def _read_file(path: Path) -> list[ClassEntry]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = json.loads(text)
            if not isinstance(rows, list):
                raise ValueError("it is no list")
            return _checked(_entry(row) for row in rows)
        lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
        return _checked(parse_class(line) for line in lines if line)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"class list {path}: {error}") from error


def _texts(text: str) -> tuple[str, ...]:
    """The name and its synonyms, each once, in their order."""
    names = [clean_name(part) for part in text.split(SEPARATOR)]
    first_of = {name.casefold(): name for name in reversed(names)}
    return tuple(name for name in dict.fromkeys(names) if first_of[name.casefold()] == name)


def _checked(entries: Iterable[ClassEntry]) -> list[ClassEntry]:
    """Refuses what has no meaning: no class at all, no name, one text for two classes."""
    owner: dict[str, int] = {}
    checked = list(entries)
    if not checked:
        raise ValueError("the class list is empty; name at least one class")
    for number, entry in enumerate(checked, start=1):
        for text in entry.texts:
            if not text:
                raise ValueError(
                    f"class {number} of {len(checked)} ({SEPARATOR.join(entry.texts)!r}) has an "
                    "empty name"
                )
            first = owner.setdefault(text.casefold(), number)
            if first != number:
                raise ValueError(
                    f"{text!r} stands for class {first} ({checked[first - 1].name!r}) and for "
                    f"class {number} ({entry.name!r}); keep one of them"
                )
    return checked

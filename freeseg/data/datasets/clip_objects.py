"""The lists of objects that YouTube-VOS's sets come with, meta.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.data.datasets.json_rows import read_json
from freeseg.data.problems import Problems

_WANTED = '{"videos": {CLIP: {"objects": {NUMBER: {"frames": [NAME, ...]}}}}}'


@dataclass(frozen=True)
class ListedObject:
    """An object of a clip."""

    number: int
    frames: tuple[str, ...]  # names of those that show it
    category: str | None = None


def listed_objects(file: Path, problems: Problems) -> dict[str, list[ListedObject]]:
    """The objects of every clip by its name.

    Args:
        file: The list.
        problems: Gets a line for every clip without objects, and every object that is none.

    Raises:
        ValueError: It is no such list.
    """
    found: dict[str, list[ListedObject]] = {}
    collecting = problems.collecting("lists of objects")
    for name, row in _videos(file).items():
        with collecting:
            objects = row.get("objects") if isinstance(row, dict) else None
            if not isinstance(objects, dict) or not objects:
                raise ValueError(f"{file}: {name} has no objects")
            found[name] = [
                _listed(number, one, f"{file}: {name}") for number, one in objects.items()
            ]
    return found


def seen_categories(file: Path | None) -> frozenset[str] | None:
    """The categories of a training set; None where its list is not here.

    Raises:
        ValueError: It is no such list.
        DataError: What it says of some objects is none.
    """
    if file is None or not file.is_file():
        return None
    problems = Problems()
    listed = listed_objects(file, problems)
    problems.raise_errors()
    categories = {one.category for objects in listed.values() for one in objects}
    return frozenset(each for each in categories if each is not None) or None


def _videos(file: Path) -> Mapping[str, Any]:
    content = read_json(file, "")
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not videos:
        raise ValueError(f"{file} is no list of objects: wanted {_WANTED}")
    return videos


def _listed(number: str, row: Any, source: str) -> ListedObject:
    frames = row.get("frames") if isinstance(row, dict) else None
    is_number = number.isdecimal() and 0 < int(number) < 255
    if not is_number or not isinstance(frames, list) or not frames:
        raise ValueError(f"{source}: object {number!r:.40} is none: wanted {_WANTED}")
    category = row.get("category")
    return ListedObject(
        int(number), tuple(map(str, frames)), None if category is None else str(category)
    )

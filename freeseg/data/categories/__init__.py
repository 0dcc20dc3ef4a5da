"""Category tables of the known datasets, kept as JSON files beside this one."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Category:
    """One row of a category table: its id in the dataset's files, name, thing flag and colour."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]

    def to_json(self) -> dict[str, Any]:
        """The row as it stands in a COCO-panoptic JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "isthing": int(self.is_thing),
            "color": list(self.color),
            "supercategory": "",
        }


@functools.cache
def load_categories(table: str) -> tuple[Category, ...]:
    """The categories of a table by its name ("camvid"), in the order of its contiguous classes."""
    path = Path(__file__).with_name(f"{table}.json")
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.json"))
        raise ValueError(f"no category table {table!r}; known tables are {', '.join(known)}")
    rows = json.loads(path.read_text(encoding="utf-8"))["categories"]
    colors = palette(len(rows))
    return tuple(
        Category(row[0], row[1], bool(row[2]), tuple(row[3]) if len(row) > 3 else colors[index])
        for index, row in enumerate(rows)
    )


def from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Category, ...]:
    """Categories of a COCO JSON, things first (a row without "isthing" is a thing), else by id."""
    ordered = sorted(rows, key=lambda row: (not row.get("isthing", 1), int(row["id"])))
    colors = palette(len(ordered))
    return tuple(
        Category(
            int(row["id"]),
            str(row["name"]),
            bool(row.get("isthing", 1)),
            _color(row.get("color"), colors[index]),
        )
        for index, row in enumerate(ordered)
    )


def metadata(categories: Sequence[Category]) -> dict[str, Any]:
    """Detectron2 metadata of a table: one contiguous id space for stuff and things together.

    As in Detectron2's own panoptic sets both lists have all classes, so that either is right for
    whoever looks a class number up in it; the ids say which are things.
    """
    names, colors = [row.name for row in categories], [list(row.color) for row in categories]
    numbers = {row.id: index for index, row in enumerate(categories)}
    return {
        "thing_classes": names,
        "thing_colors": colors,
        "thing_dataset_id_to_contiguous_id": {
            row.id: numbers[row.id] for row in categories if row.is_thing
        },
        "stuff_classes": names,
        "stuff_colors": colors,
        "stuff_dataset_id_to_contiguous_id": numbers,
    }


def palette(count: int) -> list[tuple[int, int, int]]:
    """Distinct colours without a table: bits of the index spread over the three channels.

    This is Pascal VOC's colour map without its black first entry.
    """
    return [_spread_bits(index + 1) for index in range(count)]


def _spread_bits(index: int) -> tuple[int, int, int]:
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]


def _color(value: Any, default: tuple[int, int, int]) -> tuple[int, int, int]:
    if isinstance(value, (list, tuple)) and len(value) == 3:
        return int(value[0]), int(value[1]), int(value[2])
    return default

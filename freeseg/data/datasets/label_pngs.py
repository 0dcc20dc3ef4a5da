"""A user's label PNGs as a dataset: pixels are category ids, or colours of a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freeseg.data.categories import from_json, metadata
from freeseg.data.datasets.catalog import IGNORE_LABEL, LABELS_KEY, Records, register
from freeseg.data.datasets.json_rows import Json, read_field
from freeseg.data.datasets.photo_finder import composed
from freeseg.data.label_table import VOID_VALUE, LabelTable, packed_color
from freeseg.data.problems import Problems
from freeseg.images import IMAGE_SUFFIXES

_VOID_COLOR = packed_color((0, 0, 0))


def register_label_pngs(
    name: str,
    content: Mapping[str, Any],
    rows: Sequence[Json],
    photos: Path,
    labels: Path,
    source: Path,
) -> None:
    """Register a set of photos and of label PNGs that have their names.

    Args:
        name: Of the dataset.
        content: Of the JSON; "ignore_label" is the pixel value without meaning, 255 by default.
        rows: Its categories; where all have a "color", PNGs may be coloured.
        photos: Folder, with folders in it or not.
        labels: Folder of the PNGs, with the same folders.
        source: The JSON, for messages.
    """
    categories = from_json(rows)
    void = VOID_VALUE
    if "ignore_label" in content:
        void = read_field(content, "ignore_label", int, str(source))
        if any(row.id == void for row in categories):
            raise ValueError(f"{source}: ignore_label {void} is the id of a category as well")
    values: dict[int, int | None] = {void: None}
    values.update({row.id: label for label, row in enumerate(categories)})
    colors: dict[int, int | None] | None = None
    if all("color" in row for row in rows):
        packed = dict(zip((row["id"] for row in rows), _colors(rows, source)))
        colors = {_VOID_COLOR: None}
        colors.update({packed[row.id]: label for label, row in enumerate(categories)})
    table = LabelTable(values, colors)

    def load(problems: Problems) -> Records:
        return _load(photos, labels, table, problems)

    known = {
        "image_root": str(photos),
        "sem_seg_root": str(labels),
        "evaluator_type": "sem_seg",
        "ignore_label": max(IGNORE_LABEL, len(categories)),
        **metadata(categories),
    }
    register(name, load, known)


def _colors(rows: Sequence[Json], source: Path) -> list[int]:
    """The packed colours of categories, each of which must have its own.

    Raises:
        DataError: With a line for each that is no colour, or that another has too.
    """
    owners: dict[int, Json] = {}
    problems = Problems()
    for row in rows:
        color, name = row["color"], f"{source}: category {row['id']} ({row['name']!r})"
        if not _is_color(color):
            problems.error(
                "colours", f"{name} needs 'color', [R, G, B] from 0 to 255, got {color!r:.40}"
            )
            continue
        owner = owners.setdefault(packed_color(color), row)
        if owner is not row:
            problems.error(
                "colours",
                f"{name} has the color {list(color)} of category {owner['id']} "
                f"({owner['name']!r}); give every category its own, or none any",
            )
    problems.raise_errors()
    return list(owners)


def _is_color(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 3:
        return False
    return all(type(part) in (int, float) and part in range(256) for part in value)


def _load(photos: Path, labels: Path, table: LabelTable, problems: Problems) -> Records:
    """A record for every label PNG that has a photo."""
    photo_of: dict[str, Path] = {}
    for path in _files(photos, IMAGE_SUFFIXES):
        key = _key(path, photos)
        if key in photo_of:
            problems.error(
                "photos of one name",
                f"{photos}: {photo_of[key].name} and {path.name} have one name, and one label PNG",
            )
        photo_of.setdefault(key, path)
    label_of = {_key(path, labels): path for path in _files(labels, {".png"})}
    if not label_of:
        raise ValueError(f"no PNGs in {labels}{_others_in(labels)}")
    for key in sorted(set(label_of) - set(photo_of)):
        problems.error(
            "labels without a photo", f"{label_of[key]}: no photo of this name: {photos}"
        )
    without = sorted(set(photo_of) - set(label_of))
    if without:
        problems.warn(
            "photos without labels",
            f"{photos}: {len(without)} of {len(photo_of)} photos have no label PNG in {labels}, "
            f"such as {photo_of[without[0]].name}: they are not used",
        )
    return [
        {
            "file_name": str(photo_of[key]),
            "sem_seg_file_name": str(label_of[key]),
            "image_id": key,
            LABELS_KEY: table,
        }
        for key in sorted(set(label_of) & set(photo_of))
    ]


def _others_in(folder: Path) -> str:
    """What a folder without PNGs has instead, for a message."""
    others = Counter(path.suffix.lower() for path in _files(folder, IMAGE_SUFFIXES))
    if not others:
        return ""
    listed = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
    return f": wanted PNGs, found {listed}"


def _files(folder: Path, suffixes: frozenset[str] | set[str]) -> list[Path]:
    found = []
    for parent, _, names in os.walk(folder):
        found += [Path(parent) / each for each in names if Path(each).suffix.lower() in suffixes]
    return sorted(found)


def _key(path: Path, folder: Path) -> str:
    return composed(path.relative_to(folder).with_suffix("").as_posix())

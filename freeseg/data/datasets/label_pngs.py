"""A user's label PNGs as a dataset: pixels are category ids, or colours of a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freeseg.data.categories import from_json, metadata
from freeseg.data.datasets.catalog import IGNORE_LABEL, LABELS_KEY, Records, register
from freeseg.data.datasets.json_rows import Json, read_field
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
        colors = {_VOID_COLOR: None}
        colors.update({packed_color(row.color): label for label, row in enumerate(categories)})
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
        raise ValueError(f"no PNGs in {labels}")
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


def _files(folder: Path, suffixes: frozenset[str] | set[str]) -> list[Path]:
    found = []
    for parent, _, names in os.walk(folder):
        found += [Path(parent) / each for each in names if Path(each).suffix.lower() in suffixes]
    return sorted(found)


def _key(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()

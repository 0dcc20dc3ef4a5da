"""LVIS (Gupta et al., CVPR 2019): many classes, of which few are looked for in an image.

A file is COCO's instance JSON whose images say of which other classes somebody has looked for
objects and found none (`neg_category_ids`), and of which not all objects are marked
(`not_exhaustive_category_ids`); a category's `frequency` is r, c or f: rare, common, frequent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from freeseg.data.categories import Category, from_json, metadata
from freeseg.data.datasets.catalog import IGNORE_LABEL, Records, register
from freeseg.data.datasets.coco import PUBLISHED_TRUTH
from freeseg.data.datasets.instances import instance_records
from freeseg.data.datasets.json_rows import Json, list_of, read_json, rows_of, without_twins
from freeseg.data.problems import Problems

LVIS = "lvis"  # evaluator_type
FREQUENCIES = ("r", "c", "f")
FREQUENCY_KEY = "class_frequency"  # of metadata: the letter of every category id
NEGATIVE_KEY = "neg_category_ids"  # of an image and of its record; ids of the file, in both
UNFINISHED_KEY = "not_exhaustive_category_ids"
HINT = "see LVIS under 'Datasets' in the documentation"
FILES = {
    "lvis_v1_train": "lvis_v1_train.json",
    "lvis_v1_val": "lvis_v1_val.json",
    "lvis_v1_minival": "lvis_v1_minival_inserted_image_name.json",  # MDETR's part of val
}

_CATEGORY: Mapping[str, type] = {"id": int, "name": str, "frequency": str}
_IMAGE: Mapping[str, type] = {"id": Hashable, NEGATIVE_KEY: list, UNFINISHED_KEY: list}
_ADDITION = re.compile(r"\s*\([^()]*\)")


@dataclass(frozen=True)
class LVISFile:
    """Where a set lies, and what to do where it does not."""

    json_file: Path
    image_root: Path
    hint: str = HINT


def register_lvis(root: Path) -> None:
    """Registers version 1: annotation under `root`/lvis, photos of COCO 2017 under `root`/coco.

    Classes are those that a file lists, which is read when they are first asked for.
    """
    for name, file_name in FILES.items():
        _register(name, LVISFile(root / "lvis" / file_name, root / "coco"))


def register_own_lvis(name: str, file: LVISFile, content: Any) -> None:
    """Registers a file of one's own in this form, whose `content` has been read.

    Raises:
        DataError: Something is wrong with its categories.
    """
    values = {**_values(file), **class_metadata(content, file.json_file)}
    register(name, lambda problems: load_lvis(file, problems), values)


def is_lvis(content: Any) -> bool:
    """Whether the content of a JSON file is of this form: an image of it says what is verified."""
    images = content.get("images") if isinstance(content, dict) else None
    rows = images if isinstance(images, list) else []
    return any(isinstance(row, dict) and NEGATIVE_KEY in row for row in rows)


def load_lvis(file: LVISFile, problems: Problems) -> Records:
    """Records of every image, which have what is verified of it in ids of the file.

    A photo is what the address in `coco_url` ends with, as "val2017/000000000139.jpg"; the
    `file_name` where there is no such address.

    Args:
        file: Of the set.
        problems: Gets what is wrong with rows.

    Raises:
        MissingDataError: There is no such file, or none of the photos.
        ValueError: It is no JSON of this form.
    """
    content = read_json(file.json_file, file.hint)
    things = _categories(content, file.json_file)
    listed = list_of(content, "images", file.json_file)
    named = {**content, "images": [_with_file_name(row) for row in listed]}
    records = instance_records(named, file.json_file, file.image_root, things, file.hint, problems)
    known = {row.id for row in things}
    rows = rows_of(content, "images", _IMAGE, file.json_file, problems)
    verified = {row["id"]: row for row in rows}
    collecting = problems.collecting("verified classes")
    for record in records:
        row = verified.get(record["image_id"], {})
        for key in (NEGATIVE_KEY, UNFINISHED_KEY):
            record[key] = row.get(key, [])
            with collecting:
                _refuse_unlisted(
                    record[key], known, f"{file.json_file}: image {record['image_id']!r:.40}: {key}"
                )
    return records


def class_metadata(content: Any, source: Path) -> dict[str, Any]:
    """Metadata of the classes of a file: names and texts as words, and frequencies.

    Raises:
        DataError: Something is wrong with its categories.
    """
    categories = _categories(content, source)
    frequencies = {row["id"]: row["frequency"] for row in content["categories"]}
    return {
        **metadata(categories),
        "class_texts": [[text] for text in spoken_names([row.name for row in categories])],
        FREQUENCY_KEY: frequencies,
    }


def spoken_names(names: Sequence[str]) -> list[str]:
    """Names without what is added in parentheses, where that leaves them unlike all others.

    "flipper (footwear)" is "flipper"; of "bow (weapon)" and "bow (decorative ribbons)" both stay.
    """
    short = [" ".join(_ADDITION.sub("", name).split()) or name for name in names]
    counts = Counter(each.casefold() for each in short)
    return [each if counts[each.casefold()] == 1 else name for each, name in zip(short, names)]


def _register(name: str, file: LVISFile) -> None:
    def classes() -> dict[str, Any]:
        return class_metadata(read_json(file.json_file, file.hint), file.json_file)

    values = {**_values(file), **PUBLISHED_TRUTH}
    register(name, lambda problems: load_lvis(file, problems), values, classes)


def _values(file: LVISFile) -> dict[str, Any]:
    return {
        "json_file": str(file.json_file),
        "image_root": str(file.image_root),
        "evaluator_type": LVIS,
        "ignore_label": IGNORE_LABEL,
    }


def _categories(content: Any, source: Path) -> tuple[Category, ...]:
    """Its classes by their ids; names have blanks for underscores.

    Raises:
        DataError: With a line for each row that is wrong.
    """
    problems = Problems()
    rows: list[Json] = []
    with problems.collecting("categories"):
        rows = rows_of(content, "categories", _CATEGORY, source, problems)
    rows = without_twins(rows, "id", f"{source}: categories", problems)
    named = [{"id": row["id"], "name": _words(row["name"])} for row in rows]
    without_twins(named, "name", f"{source}: categories", problems)
    for row in rows:
        if row["frequency"] not in FREQUENCIES:
            problems.error(
                "frequencies",
                f"{source}: category {row['id']} needs 'frequency', one of "
                f"{', '.join(FREQUENCIES)}, got {row['frequency']!r:.40}",
            )
    if not rows and not problems.errors:
        problems.error("categories", f"{source} lists no categories")
    problems.raise_errors()
    return from_json(named)


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _with_file_name(row: Any) -> Any:
    """A row of an image with its "file_name", where that is known."""
    if not isinstance(row, dict) or not isinstance(row.get("coco_url"), str):
        return row
    path = urlsplit(row["coco_url"]).path.lstrip("/")
    return {**row, "file_name": path} if path else row


def _refuse_unlisted(ids: Sequence[Any], known: Collection[int], name: str) -> None:
    """Refuses ids of categories that the file does not list.

    Raises:
        ValueError: Names the image and the first of them.
    """
    for each in ids:
        if not isinstance(each, int) or each not in known:
            raise ValueError(f"{name}: the file lists no category {each!r:.40}")

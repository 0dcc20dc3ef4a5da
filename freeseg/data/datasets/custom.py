"""A user's own annotation as a dataset, by one row of configuration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freeseg.catalog import dataset_names
from freeseg.data.categories import from_json
from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic
from freeseg.data.datasets.clips import register_own_clips
from freeseg.data.datasets.instances import register_instances
from freeseg.data.datasets.json_rows import (
    Json,
    MissingDataError,
    check_known,
    list_of,
    read_json,
    rows_of,
    without_twins,
)
from freeseg.data.datasets.label_pngs import register_label_pngs
from freeseg.data.datasets.lvis import LVISFile, is_lvis, register_own_lvis
from freeseg.data.datasets.odvg import SUFFIX, register_odvg
from freeseg.data.problems import Problems
from freeseg.structures.class_list import clean_name

ROW = "[name, json_file, image_root, panoptic_root]"
HINT = f"a DATASETS.CUSTOM row is {ROW}"

logger = logging.getLogger(__name__)

_CLIPS_SUFFIX = ".txt"  # of a list of clips

_registered: dict[str, tuple[str, ...]] = {}


def register_custom(rows: Sequence[Sequence[str]]) -> None:
    """Register the rows of DATASETS.CUSTOM; a row that is registered already costs nothing.

    Args:
        rows: each [name, json_file, image_root, panoptic_root]. With panoptic_root (the folder of
            the PNGs) the JSON is COCO-panoptic, with "" it is COCO-instance. A JSON that has
            "categories" and no "images" describes label PNGs, whose folder stands in the place of
            panoptic_root: their pixels are category ids. A file of JSON lines (.jsonl) is ODVG,
            with boxes and captions; one whose images have `neg_category_ids` is LVIS's. A text
            file (.txt) lists clips, whose frames lie in image_root and masks in panoptic_root,
            each in a folder of the clip's name. Class
            names and thing flags come from the JSON; classes are numbered things first, then by
            category id.

    Raises:
        ValueError: A row, or what its file says of classes, cannot be used; a DataError with a
            line for each problem where there are several.
        MissingDataError: There is no such file or folder.
    """
    names: set[str] = set()
    for row in rows:
        _check_row(row)
        if row[0] in names:
            raise ValueError(
                f"DATASETS.CUSTOM: two rows are called {row[0]!r}; a dataset needs a name of its "
                "own, such as one for training and one for validation"
            )
        names.add(row[0])
    for row in rows:
        name = row[0]
        if _registered.get(name) == tuple(row):
            continue
        if name in dataset_names() and name not in _registered:
            raise ValueError(
                f"DATASETS.CUSTOM: {name!r} is the name of a built-in dataset; choose another"
            )
        _register_row(*row)
        _registered[name] = tuple(row)


def _check_row(row: Any) -> None:
    is_valid = isinstance(row, (list, tuple)) and len(row) == 4
    if not is_valid or not all(isinstance(item, str) for item in row) or not all(row[:3]):
        raise ValueError(
            f'DATASETS.CUSTOM: a row is {ROW}, four strings, panoptic_root "" for instance '
            f"annotation; got {row!r}"
        )


def _register_row(name: str, json_file: str, image_root: str, panoptic_root: str) -> None:
    source = Path(json_file).expanduser()
    images = Path(image_root).expanduser()
    maps = Path(panoptic_root).expanduser() if panoptic_root else None
    if source.suffix == SUFFIX:
        if maps is not None:
            raise ValueError(f"DATASETS.CUSTOM: {source} has boxes alone, its panoptic_root is ''")
        _require_folder(images)
        register_odvg(name, source, images, HINT)
        return
    if source.suffix == _CLIPS_SUFFIX:
        _register_clips(name, source, images, maps)
        return
    content = read_json(source, HINT)
    if isinstance(content, dict) and {"images", "annotations"}.isdisjoint(content):
        rows = _categories(content, source, default_thing=0)
        folder = _label_folder(maps, source, panoptic_root)
        _require_folder(images)
        register_label_pngs(name, content, rows, images, folder, source)
        return
    rows = _categories(content, source, default_thing=1)
    annotations = list_of(content, "annotations", source)
    is_panoptic = any(isinstance(item, dict) and "segments_info" in item for item in annotations)
    if is_panoptic != (maps is not None):
        kind, wanted = ("panoptic", "the folder of its PNGs") if is_panoptic else ("instance", '""')
        raise ValueError(
            f"DATASETS.CUSTOM: {source} is a COCO-{kind} JSON, so panoptic_root must be {wanted}, "
            f"got {panoptic_root!r}"
        )
    _require_folder(images)
    if maps is None and is_lvis(content):
        register_own_lvis(name, LVISFile(source, images, HINT), content)
        return
    if maps is None:
        used = [row.get("category_id") for row in annotations if isinstance(row, dict)]
        things = [{**row, "isthing": 1} for row in _without_root(rows, used, source)]
        register_instances(name, source, images, from_json(things), HINT)
        return
    if not all("isthing" in row for row in list_of(content, "categories", source)):
        raise ValueError(f'{source}: every category of a panoptic JSON needs "isthing": 0 or 1')
    _require_folder(maps)
    files = PanopticFiles(images, maps, source, hint=HINT)
    register_panoptic(name, files, from_json(rows))


def _register_clips(name: str, source: Path, frames: Path, masks: Path | None) -> None:
    if masks is None:
        raise ValueError(
            f"DATASETS.CUSTOM: {source} lists clips, so the last item of the row must be the folder"
            " of their masks, got ''"
        )
    for folder in (frames, masks):
        _require_folder(folder)
    register_own_clips(name, source, frames, masks)


def _label_folder(maps: Path | None, source: Path, given: str) -> Path:
    if maps is None:
        raise ValueError(
            f"DATASETS.CUSTOM: {source} has categories and no images, so the last item of the row "
            f"must be the folder of label PNGs, got {given!r}"
        )
    _require_folder(maps)
    return maps


def _categories(content: Any, source: Path, default_thing: int) -> list[Json]:
    """The rows of "categories" with unique ids and names, and flags.

    Raises:
        DataError: With a line for each row that is wrong.
    """
    if not isinstance(content, dict) or "categories" not in content:
        raise ValueError(
            f"{source} is not a COCO JSON: it needs the lists images, annotations and categories"
        )
    problems = Problems()
    rows = []
    for row in rows_of(content, "categories", {"id": int, "name": str}, source, problems):
        with problems.collecting("categories"):
            known = {"isthing": default_thing, **row}
            rows.append(check_known(known, {"isthing": bool}, f"{source}: category {row['id']}"))
    unique = without_twins(rows, "id", f"{source}: categories", problems)
    _refuse_names(unique, source, problems)
    problems.raise_errors()
    if not rows:
        raise ValueError(f"{source}: categories need unique ids, and at least one row")
    return rows


def _refuse_names(rows: Sequence[Json], source: Path, problems: Problems) -> None:
    """Collects names that are empty or stand for two classes."""
    owner: dict[str, int] = {}
    for row in rows:
        name = clean_name(row["name"])
        if not name:
            problems.error("names", f"{source}: category {row['id']} has an empty name")
        elif name in owner:
            problems.error(
                "names",
                f"{source}: the categories {owner[name]} and {row['id']} are both called "
                f"{name!r}; results are listed by name, so names must be unique",
            )
        owner.setdefault(name, row["id"])


def _without_root(rows: list[Json], used: Sequence[Any], source: Path) -> list[Json]:
    """Categories without one that only holds the others together, as Roboflow writes it.

    That is one that no object has and that is the "supercategory" of all others.
    """
    for root in rows:
        others = [row for row in rows if row is not root]
        is_parent = all(row.get("supercategory") == root["name"] for row in others)
        if others and is_parent and root["id"] not in used:
            logger.warning(
                "%s: category %d, %r, is the root of the others and no object has it: left out",
                source,
                root["id"],
                root["name"],
            )
            return others
    return rows


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        raise MissingDataError(f"folder {path} does not exist; {HINT}")

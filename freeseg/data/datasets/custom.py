"""A user's own COCO-panoptic or COCO-instance JSON as a dataset, by one row of configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog
from freeseg.data.categories import from_json
from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic
from freeseg.data.datasets.instances import register_instances
from freeseg.data.datasets.json_rows import MissingDataError, read_json, rows_of

ROW = "[name, json_file, image_root, panoptic_root]"
HINT = f"a DATASETS.CUSTOM row is {ROW}"

_registered: dict[str, tuple[str, ...]] = {}


def register_custom(rows: Sequence[Sequence[str]]) -> None:
    """Register the rows of DATASETS.CUSTOM; a row that is registered already costs nothing.

    Args:
        rows: each [name, json_file, image_root, panoptic_root]. With panoptic_root (the folder of
            the PNGs) the JSON is COCO-panoptic, with "" it is COCO-instance. Class names and thing
            flags come from the JSON; classes are numbered things first, then by category id.
    """
    for row in rows:
        _check_row(row)
        name = row[0]
        if _registered.get(name) == tuple(row):
            continue
        if name in DatasetCatalog.list() and name not in _registered:
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
    content = read_json(source, HINT)
    rows = _checked_categories(content, source)
    annotations = rows_of(content, "annotations", {}, source)
    is_panoptic = any("segments_info" in item for item in annotations)
    if is_panoptic != bool(panoptic_root):
        kind, wanted = ("panoptic", "the folder of its PNGs") if is_panoptic else ("instance", '""')
        raise ValueError(
            f"DATASETS.CUSTOM: {source} is a COCO-{kind} JSON, so panoptic_root must be {wanted}, "
            f"got {panoptic_root!r}"
        )
    _require_folder(images)
    if not is_panoptic:
        things = from_json([{**row, "isthing": 1} for row in rows])
        register_instances(name, source, images, things, HINT)
        return
    if not all("isthing" in row for row in rows):
        raise ValueError(f'{source}: every category of a panoptic JSON needs "isthing": 0 or 1')
    _require_folder(Path(panoptic_root).expanduser())
    files = PanopticFiles(images, Path(panoptic_root).expanduser(), source, hint=HINT)
    register_panoptic(name, files, from_json(rows))


def _checked_categories(content: Any, source: Path) -> list[dict[str, Any]]:
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= set(content):
        raise ValueError(
            f"{source} is not a COCO JSON: it needs the lists images, annotations and categories"
        )
    rows = rows_of(content, "categories", {"id": int, "name": str}, source)
    if not rows or len({row["id"] for row in rows}) != len(rows):
        raise ValueError(f"{source}: categories need unique ids, and at least one row")
    return rows


def _require_folder(path: Path) -> None:
    if not path.is_dir():
        raise MissingDataError(f"folder {path} does not exist; {HINT}")

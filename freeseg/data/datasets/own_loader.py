"""Records of a loader that a user has registered: Detectron2's form, or lines that say no."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from detectron2.data import DatasetCatalog
from freeseg.catalog import dataset_metadata
from freeseg.data.problems import Problems

Records = list[dict[str, Any]]

# what a record may name files by, and what they are
_FILES = {
    "file_name": "the photo",
    "pan_seg_file_name": "the panoptic PNG",
    "sem_seg_file_name": "the semantic PNG",
}
# what a row of a record's lists must have
_ROWS = {"annotations": ("category_id",), "segments_info": ("id", "category_id")}


def check_metadata(name: str, problems: Problems) -> None:
    """Collects what is wrong with a dataset's class names and with its label for void."""
    metadata = dataset_metadata(name)
    for key in ("thing_classes", "stuff_classes"):
        wrong = [each for each in metadata.get(key) or () if not isinstance(each, str)]
        if wrong:
            problems.error(
                "metadata", f"{name}: {key} are texts, the names of classes, got {wrong[0]!r}"
            )
    label = metadata.get("ignore_label", 0)
    if isinstance(label, bool) or not isinstance(label, (int, np.integer)):
        problems.error("metadata", f"{name}: ignore_label is a whole number, got {label!r}")


def own_records(name: str, problems: Problems) -> Records:
    """Records with plain numbers and paths as texts; what is none is left out.

    Args:
        name: Of the dataset.
        problems: Gets a line for every record that is left out.

    Raises:
        ValueError: The loader refuses its files, or gives no records.
    """
    try:
        given = list(DatasetCatalog.get(name))
    except AssertionError as error:  # so Detectron2's loaders refuse their files
        raise ValueError(f"{name}: its loader fails: {error or 'an assertion'}") from error
    if not given:
        raise ValueError(f"{name}: has no images")
    records: Records = []
    for number, record in enumerate(given):
        with problems.collecting("form of records"):
            records.append(_checked(record, f"{name}: record {number}"))
    return records


def _checked(record: Any, where: str) -> dict[str, Any]:
    """A record as everything here reads it.

    Raises:
        ValueError: Names it and what is wanted.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{where} is no record, a dict, but {record!r:.40}")
    plain = {key: _plain(value) for key, value in record.items()}
    if "file_name" not in plain:
        raise ValueError(f"{where} needs 'file_name', the photo")
    for key, meaning in _FILES.items():
        if key in plain and not isinstance(plain[key], str):
            raise ValueError(
                f"{where} needs {key!r}, {meaning}, a text or a Path, got {plain[key]!r:.60}"
            )
    where = f"{where}, {plain['file_name']},"
    if "pan_seg_file_name" in plain and "segments_info" not in plain:
        raise ValueError(f"{where} needs 'segments_info', the segments of its panoptic PNG")
    for key in ("height", "width"):
        if key in plain and (isinstance(plain[key], bool) or not isinstance(plain[key], int)):
            raise ValueError(f"{where} needs {key!r}, a whole number, got {plain[key]!r:.40}")
    for key, fields in _ROWS.items():
        if key in plain:
            plain[key] = _rows(plain[key], fields, f"{where} {key}")
    return plain


def _rows(rows: Any, fields: tuple[str, ...], where: str) -> list[dict[str, Any]]:
    if not isinstance(rows, (list, tuple)):
        raise ValueError(f"{where} is a list, got {rows!r:.40}")
    checked = []
    for place, row in enumerate(rows):
        missing = [field for field in fields if not isinstance(row, Mapping) or field not in row]
        if missing:
            raise ValueError(f"{where}[{place}] needs {missing[0]!r}")
        plain = {key: _plain(value) for key, value in row.items()}
        if isinstance(plain.get("bbox"), np.ndarray):
            plain["bbox"] = plain["bbox"].tolist()
        checked.append(plain)
    return checked


def _plain(value: Any) -> Any:
    """Python's number for numpy's, as loaders of tables give, which has no JSON; a path's text."""
    if isinstance(value, np.generic):
        return value.item()
    return os.fspath(value) if isinstance(value, os.PathLike) else value

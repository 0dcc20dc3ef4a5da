"""Records of datasets as this package trains on them, evaluates and checks them.

They are what Detectron2's catalog gives, with ids where a loader makes none, photos that are listed
twice put together where that is asked for, and class numbers of another list where one is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from freeseg.class_matching import ClassMatch, match_classes
from freeseg.classes import shown
from freeseg.data.datasets.catalog import (
    IGNORED_KEY,
    LABELS_KEY,
    STUFF_KEY,
    Records,
    load_records,
)
from freeseg.data.label_table import LabelTable
from freeseg.data.problems import Problems
from freeseg.image_headers import read_header
from freeseg.structures import Vocabulary


def dataset_records(
    name: str, *, merge_twins: bool = False, problems: Problems | None = None
) -> Records:
    """Records of a registered dataset; every one has an "image_id".

    Args:
        name: Of the dataset.
        merge_twins: Put the objects of records together that have one photo.
        problems: Gets all that is wrong with the annotation.

    Raises:
        DataError: Something is wrong, and nobody collects it.
        MissingDataError: The files are not here.
    """
    found = Problems() if problems is None else problems
    records = load_records(name, found)
    if problems is None:
        found.raise_errors()
    if any("image_id" not in record for record in records):
        records = [{**record, "image_id": number} for number, record in enumerate(records, 1)]
    records = [_with_size(record) if _needs_size(record) else record for record in records]
    return merged(records) if merge_twins else records


def _needs_size(record: Mapping[str, Any]) -> bool:
    keys = set(record)
    return {"annotations", "file_name"} <= keys and not {"height", "width"} <= keys


def _with_size(record: dict[str, Any]) -> dict[str, Any]:
    """A record of objects with the size of its upright photo, where that can be read."""
    header = read_header(record["file_name"])
    if header is None:
        return record
    height, width = header.upright_size
    return {**record, "height": height, "width": width}


def photo_of(record: Mapping[str, Any]) -> str:
    """One spelling of the path of a record's photo."""
    return os.path.normpath(record["file_name"])


def identity_of(record: Mapping[str, Any]) -> str:
    """The path of a record's photo behind all links: one photo has one, whatever it is called."""
    return os.path.realpath(record["file_name"])


def merged(records: Sequence[Mapping[str, Any]]) -> Records:
    """Records of which no two have one photo; of several the objects are put together.

    Raises:
        ValueError: Such records have other annotation than objects.
    """
    first: dict[str, dict[str, Any]] = {}
    for record in records:
        photo = identity_of(record)
        if photo not in first:
            first[photo] = dict(record)
        elif "annotations" in record and "annotations" in first[photo]:
            first[photo]["annotations"] = [*first[photo]["annotations"], *record["annotations"]]
        else:
            raise ValueError(
                f"{photo_of(record)} is listed twice with PNGs: only records of objects can be "
                "merged (DATASETS.MERGE_TWINS)"
            )
    return list(first.values())


def match_or_refuse(
    name: str, listed: Vocabulary, known: Vocabulary, remedy: str, *, ignores_unknown: bool = False
) -> ClassMatch:
    """Which of a model's classes those of a dataset are, see `match_classes`.

    Args:
        name: Of the dataset.
        listed: Its classes.
        known: The model's.
        remedy: What can be done about classes that are not known, for the message.
        ignores_unknown: Leave out classes that the model does not know, if it knows any.

    Raises:
        ValueError: It does not know some, or none; names them and what can be done.
    """
    match = match_classes(listed, known)
    if match.unknown and (not ignores_unknown or len(match.unknown) == len(listed)):
        raise ValueError(
            f"dataset {name} has classes that the model was not trained on: "
            f"{shown(match.unknown)}; it knows {shown(known.names)}; {remedy}"
        )
    return match


def renumbered(
    records: Records, labels: Sequence[int | None], ignore_label: int, new_ignore_label: int
) -> Records:
    """Records whose class numbers are those of another list.

    Args:
        records: With the class numbers of their dataset.
        labels: The new number of every class; None makes its objects and segments void.
        ignore_label: Void in the semantic PNGs.
        new_ignore_label: Void in what is read from them.
    """
    table = LabelTable({new_ignore_label: None, **dict(enumerate(labels)), ignore_label: None})
    return [_renumbered(record, labels, table) for record in records]


def _renumbered(
    record: Mapping[str, Any], labels: Sequence[int | None], table: LabelTable
) -> dict[str, Any]:
    result = dict(record)
    for key in ("annotations", "segments_info"):
        if key in record:
            moved = [{**row, "category_id": labels[row["category_id"]]} for row in record[key]]
            result[key] = [row for row in moved if row["category_id"] is not None]
    if "sem_seg_file_name" in record or STUFF_KEY in record:
        own = record.get(LABELS_KEY)
        result[LABELS_KEY] = table if own is None else own.renumbered(labels)
    if IGNORED_KEY in record:
        new = [labels[label] for label in record[IGNORED_KEY]]
        result[IGNORED_KEY] = [label for label in new if label is not None]
    return result

"""ODVG: object detection and visual grounding as JSON lines, one image each.

A line has "filename", "height", "width", and "detection" {"instances": [{"bbox", "label",
"category"}]} or "grounding" {"caption", "regions": [{"bbox", "phrase", "tokens_positive"}]}; boxes
are xyxy in pixels, "tokens_positive" are characters of the caption.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from freeseg.data.categories import Category, from_json, metadata
from freeseg.data.datasets.catalog import IGNORE_LABEL, Records, register
from freeseg.data.datasets.json_rows import (
    FileName,
    check_known,
    check_row,
    require_file,
    require_some,
)
from freeseg.data.datasets.photo_finder import PhotoFinder
from freeseg.data.problems import Problems

SUFFIX = ".jsonl"
_IMAGE: Mapping[str, type] = {"filename": FileName, "height": int, "width": int}
_PARTS: Mapping[str, type] = {"detection": dict, "grounding": dict}
_LISTS: Mapping[str, type] = {"instances": list, "regions": list}
_INSTANCE: Mapping[str, type] = {"bbox": list, "label": int, "category": FileName}
_REGION: Mapping[str, type] = {"bbox": list, "phrase": FileName}

Json = dict[str, Any]


def register_odvg(name: str, lines: Path, image_root: Path, hint: str) -> None:
    """Registers a file; its classes are those that its lines name, by their labels.

    Raises:
        MissingDataError: There is no such file.
        ValueError: A line is no JSON or no image, or a label has two names.
    """
    rows = _read_lines(lines, hint)
    categories = _categories(rows, lines)
    values = {
        "json_file": str(lines),
        "image_root": str(image_root),
        "evaluator_type": "coco",
        "ignore_label": IGNORE_LABEL,
        **metadata(categories),
    }

    def load(problems: Problems) -> Records:
        return _records(_read_lines(lines, hint), lines, image_root, hint, problems)

    register(name, load, values)


def phrase_spans(caption: str, phrase: str) -> list[tuple[int, int]]:
    """Where a phrase stands in a caption for the first time, as whole words; [] if nowhere."""
    words = r"\s+".join(map(re.escape, phrase.split()))
    found = re.search(rf"(?<!\w){words}(?!\w)", caption, re.IGNORECASE) if words else None
    return [found.span()] if found else []


def _read_lines(path: Path, hint: str) -> list[Json]:
    require_file(path, hint)
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        text = line.removeprefix(codecs.BOM_UTF8)
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: line {number} is no JSON: {error}") from error
        rows.append(_read_line(row, f"{path}: line {number}"))
    return rows


def _read_line(row: Any, place: str) -> Json:
    """A line whose parts are objects and whose lists are lists; null is as if it were not there."""
    line = _known(check_row(row, _IMAGE, place), _PARTS, place)
    return {**line, **{part: _known(line[part], _LISTS, place) for part in _PARTS if part in line}}


def _known(row: Json, fields: Mapping[str, type], place: str) -> Json:
    given = {key: value for key, value in row.items() if key not in fields or value is not None}
    return check_known(given, fields, place)


def _categories(rows: Sequence[Json], source: Path) -> list[Category]:
    """Classes by their labels; of captions alone there is one, which means nothing."""
    names: dict[Any, str] = {}
    for row in rows:
        for one in row.get("detection", {}).get("instances", ()):
            label = one.get("label") if isinstance(one, dict) else None
            if not isinstance(label, (int, float)):
                continue  # `_annotations` says what is wrong with it
            name = one.get("category")
            if names.setdefault(label, name) != name:
                raise ValueError(f"{source}: the label {label} is {names[label]!r} and {name!r}")
    if not names:
        return list(from_json([{"id": 0, "name": "object"}]))
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"{source}: labels count from 0, got {sorted(names)[:8]}")
    return list(from_json({"id": label, "name": name} for label, name in names.items()))


def _records(
    rows: Sequence[Json], source: Path, image_root: Path, hint: str, problems: Problems
) -> Records:
    finder = PhotoFinder(image_root, source, problems)
    records = []
    collecting = problems.collecting("annotations")
    for number, row in enumerate(rows, start=1):
        record: Json = {
            "file_name": str(finder.find(row["filename"])),
            "image_id": number,
            "height": row["height"],
            "width": row["width"],
            "annotations": [],
        }
        grounding = row.get("grounding")
        if grounding is not None:
            record["caption"] = grounding.get("caption", "")
        with collecting:
            record["annotations"] = _annotations(row, f"{source}: image {number}")
        records.append(record)
    finder.report()
    if not records and not problems.errors:
        raise ValueError(f"{source} has no lines")
    if not problems.errors:
        require_some((record["file_name"] for record in records), hint)
    return records


def _annotations(row: Json, place: str) -> list[Json]:
    """Detectron2's dicts of a line; those of a caption have "phrases".

    Raises:
        ValueError: A field has no meaning, or a phrase is not in the caption.
    """
    grounding = row.get("grounding")
    if grounding is None:
        listed = row.get("detection", {}).get("instances", [])
        found = [check_row(one, _INSTANCE, place) for one in listed]
        return [_annotation(one, one["label"], place) for one in found]
    caption = grounding.get("caption")
    if not isinstance(caption, str) or not caption.strip():
        raise ValueError(f"{place} has no caption")
    found = []
    for one in grounding.get("regions", []):
        region = check_row(one, _REGION, place)
        spans = _given_spans(region, caption, place) or phrase_spans(caption, region["phrase"])
        if not spans:
            raise ValueError(f"{place}: {region['phrase']!r} is not in {caption!r}")
        found.append({**_annotation(region, 0, place), "phrases": [list(each) for each in spans]})
    return found


def _given_spans(region: Json, caption: str, place: str) -> list[tuple[int, int]]:
    """Where a line says that a phrase stands; [] if it does not."""
    spans = region.get("tokens_positive") or []
    if not isinstance(spans, list) or not all(_is_span(each, len(caption)) for each in spans):
        raise ValueError(
            f"{place}: tokens_positive is a list of [start, end] in the {len(caption)} characters "
            f"of the caption, got {spans!r:.60}"
        )
    return [(start, end) for start, end in spans]


def _is_span(span: Any, length: int) -> bool:
    if not isinstance(span, list) or len(span) != 2 or any(type(each) is not int for each in span):
        return False
    start, end = span
    return 0 <= start < end <= length


def _annotation(row: Json, label: int, place: str) -> Json:
    box = row["bbox"]
    if len(box) != 4 or not all(isinstance(side, (int, float)) for side in box):
        raise ValueError(f"{place}: a box is x0, y0, x1, y1, got {box!r:.60}")
    if not (box[0] <= box[2] < math.inf and box[1] <= box[3] < math.inf):
        raise ValueError(f"{place}: a box is x0, y0, x1, y1, got {box!r:.60}")
    return {
        "category_id": label,
        "iscrowd": 0,
        "segmentation": None,
        "bbox": [float(side) for side in box],
        "bbox_mode": BoxMode.XYXY_ABS,
    }

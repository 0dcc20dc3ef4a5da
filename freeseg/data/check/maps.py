"""PNGs of a dataset: there, as large as their photo, and with values that mean something.

Shapes: H W image size, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from freeseg.classes import shown
from freeseg.data.annotation_files import read_picture
from freeseg.data.check.facts import Fact, facts_of
from freeseg.data.check.photos import look_at_photo
from freeseg.data.datasets.catalog import IGNORED_KEY, LABELS_KEY, STUFF_KEY
from freeseg.data.label_table import (
    LabelTable,
    label_text,
    one_channel,
    packed_color,
    swap_hint,
)
from freeseg.data.panoptic import VOID_ID, rgb2id, unique_labels
from freeseg.data.problems import Problems
from freeseg.data.records import photo_of
from freeseg.image_headers import ImageHeader
from freeseg.structures import Vocabulary

Record = Mapping[str, Any]

MAX_MAPS = 1000  # that are decoded; of more, every so manieth
_UNREADABLE = "PNGs that cannot be read"  # kind of such errors

MAX_AREA_ERROR = 0.1  # share by which a segment's area may differ from what the JSON says
MAP_KEYS = ("pan_seg_file_name", "sem_seg_file_name", STUFF_KEY)


def check_maps(
    name: str,
    records: Sequence[Record],
    headers: Mapping[str, ImageHeader],
    classes: Vocabulary,
    void: int,
    problems: Problems,
) -> None:
    """Looks at the header and end of every PNG, and at the values of up to `MAX_MAPS`.

    Args:
        name: Of the dataset, for messages.
        records: With "pan_seg_file_name" or "sem_seg_file_name", or without.
        headers: Of the photos that can be read.
        classes: Of the dataset, K.
        void: The value of semantic PNGs that is ignored.
        problems: Gets what is wrong.
    """
    for key in MAP_KEYS:
        annotated = [record for record in records if key in record]
        if not annotated:
            continue
        _warn_of_other_names(name, annotated, key, problems)
        readable = _check_sizes(name, annotated, key, headers, problems)
        some = readable[:: max(1, -(-len(readable) // MAX_MAPS))]
        if key == "pan_seg_file_name":
            _check_segments(name, some, problems)
        else:
            _check_labels(name, some, key, classes, void, problems)


def _warn_of_other_names(
    name: str, records: Sequence[Record], key: str, problems: Problems
) -> None:
    """Counts PNGs that are called as another photo of the set."""
    stems = [(Path(record["file_name"]).stem, Path(record[key]).stem) for record in records]
    photos = {photo for photo, _ in stems}
    others = [
        record for record, (photo, png) in zip(records, stems) if png != photo and png in photos
    ]
    if others:
        problems.warn(
            "names of other photos",
            f"{name}: {len(others)} of {len(records)} PNGs have the name of another photo, such as "
            f"{others[0][key]} of {photo_of(others[0])}: are they exchanged?",
        )


def _check_sizes(
    name: str,
    records: Sequence[Record],
    key: str,
    headers: Mapping[str, ImageHeader],
    problems: Problems,
) -> list[Record]:
    """Compares PNGs with their photos; returns the records whose PNG can be read."""
    files = [record[key] for record in records]
    facts = facts_of(files, look_at_photo, "photos", f"PNGs of {name}")
    readable = []
    for record in records:
        fact, photo = facts.get(record[key]), headers.get(photo_of(record))
        reason = "does not exist" if fact is None else fact["problem"]
        if fact is None or reason:
            problems.error(_UNREADABLE, f"{name}: {record[key]} {reason}")
            continue
        readable.append(record)
        size = fact["height"], fact["width"]
        if photo is not None and size not in (photo.stored_size, photo.upright_size):
            height, width = photo.upright_size
            problems.error(
                "sizes of PNGs",
                f"{name}: {record[key]} is {size[1]}x{size[0]} pixels, its photo is "
                f"{width}x{height}",
            )
    return readable


def _contents(
    name: str,
    records: Sequence[Record],
    key: str,
    look: Callable[[str], Fact],
    problems: Problems,
) -> tuple[Mapping[str, Fact], list[Record]]:
    """What decoding the PNGs finds, and the records whose PNG can be decoded."""

    def look_or_say(path: str) -> Fact:
        try:
            return look(path)
        except (OSError, ValueError) as error:
            return {"problem": str(error)}

    facts = facts_of(
        [record[key] for record in records], look_or_say, look.__name__, f"PNGs of {name}"
    )
    whole = []
    for record in records:
        if "problem" in facts[record[key]]:
            problems.error(_UNREADABLE, f"{name}: {facts[record[key]]['problem']}")
        else:
            whole.append(record)
    return facts, whole


def _check_segments(name: str, records: Sequence[Record], problems: Problems) -> None:
    """Compares the segment ids in panoptic PNGs with those that the JSON lists."""
    facts, records = _contents(name, records, "pan_seg_file_name", _look_at_segments, problems)
    strange: list[Record] = []
    void: list[Record] = []
    others: list[Record] = []
    without_pixel = 0
    for record in records:
        fact = facts[record["pan_seg_file_name"]]
        listed = {segment["id"] for segment in record["segments_info"]}
        present = set(fact["ids"])
        without_pixel += len(listed - present)
        if listed and not listed & present:
            void.append(record)
        elif present - listed - {VOID_ID}:
            strange.append(record)
        if _has_other_areas(record, fact):
            others.append(record)
    if void:
        first = void[0]
        line = (
            f"{name}: {len(void)} of {len(records)} panoptic PNGs have no pixel of a listed "
            f"segment, such as {first['pan_seg_file_name']}{_cause(first, facts)}"
        )
        if len(void) == sum(bool(record["segments_info"]) for record in records):
            problems.error("panoptic PNGs", f"{line}; nothing is left to learn")
        else:
            problems.warn("panoptic PNGs", f"{line}; they are all void")
    if strange:
        problems.warn(
            "segments that are not listed",
            f"{name}: {len(strange)} of {len(records)} panoptic PNGs have ids that the JSON does "
            f"not list, such as {strange[0]['pan_seg_file_name']}: void",
        )
    if others and not void:
        first = others[0]
        problems.warn(
            "areas of segments",
            f"{name}: {len(others)} of {len(records)} panoptic PNGs show most segments in another "
            f"size than the JSON's area, such as {first['pan_seg_file_name']} of "
            f"{photo_of(first)}: the PNG counts (is it of another photo?)",
        )
    if without_pixel and not void:
        problems.warn(
            "segments without a pixel",
            f"{name}: {without_pixel} listed segments have no pixel in their PNG: left out",
        )


def _has_other_areas(record: Record, fact: Fact) -> bool:
    """Whether most segments that say their area have another one in the PNG."""
    areas = dict(zip(fact["ids"], fact["areas"]))
    said = [
        (row["area"], areas[row["id"]])
        for row in record["segments_info"]
        if isinstance(row.get("area"), (int, float)) and row["id"] in areas
    ]
    differ = sum(abs(given - found) > MAX_AREA_ERROR * found for given, found in said)
    return 2 * differ > len(said)


def _look_at_segments(path: str) -> Fact:
    pixels = read_picture(path, "RGB")
    present, places = unique_labels(rgb2id(pixels))
    areas = np.bincount(places.ravel(), minlength=len(present))
    fact: Fact = {"ids": present.tolist(), "areas": areas.tolist()}
    grey = one_channel(pixels)
    if grey is not None:
        fact["grey"] = np.unique(grey).tolist()
    else:
        fact["swapped"] = np.unique(rgb2id(pixels[..., ::-1])).tolist()
    return fact


def _cause(record: Record, facts: Mapping[str, Fact]) -> str:
    """What probably happened to a PNG without a pixel of its segments."""
    fact = facts[record["pan_seg_file_name"]]
    listed = {segment["id"] for segment in record["segments_info"]}
    if listed & set(fact.get("swapped", ())):
        return ": red and blue are swapped (COCO's ids are R + 256 G + 65536 B, OpenCV writes BGR)"
    if listed & set(fact.get("grey", ())):
        return ": it is grey, and COCO's ids are R + 256 G + 65536 B"
    return f": it has the ids {shown([str(each) for each in fact['ids']])}"


def _check_labels(
    name: str,
    records: Sequence[Record],
    key: str,
    classes: Vocabulary,
    void: int,
    problems: Problems,
) -> None:
    """Counts the values of semantic PNGs against the classes."""
    facts, records = _contents(name, records, key, _look_at_labels, problems)
    pixels: Counter[int] = Counter()  # by class; -1 is void
    wrong = Problems()
    for record in records:
        try:
            pixels.update(_classes_in(record, key, facts[record[key]], len(classes), void))
        except ValueError as error:
            wrong.error("labels", f"{name}: {error}")
    problems.extend(wrong)
    if wrong.errors or not records:
        return
    table = records[0].get(LABELS_KEY)
    void = void if table is None else table.void_value
    ignored = {label for record in records for label in record.get(IGNORED_KEY, ())}
    expected = [label for label in range(len(classes)) if label not in ignored]
    present = [label for label in expected if pixels[label]]
    if not present:
        problems.error(
            "labels", f"{name}: all pixels of its label PNGs are {void}, ignored: nothing is left"
        )
    elif len(present) == 1:
        _warn_of_one_class(name, records[0][key], classes, present[0], pixels, void, problems)
    elif len(present) < len(expected) and key != STUFF_KEY:
        absent = [classes.names[label] for label in expected if not pixels[label]]
        problems.warn(
            "classes that never occur",
            f"{name}: no pixel of {len(absent)} of {len(expected)} classes: {shown(absent)}",
        )


def _warn_of_one_class(
    name: str,
    example: str,
    classes: Vocabulary,
    label: int,
    pixels: Mapping[int, int],
    void: int,
    problems: Problems,
) -> None:
    line = (
        f"{name}: every pixel that counts is class {label} ({classes.names[label]!r}), so nothing "
        "can be wrong, and mIoU is 100 whatever is predicted"
    )
    if pixels.get(-1):
        line += f"; all others are {void}, which is ignored, such as in {Path(example).name}"
    if len(classes) > 1:
        absent = [each for number, each in enumerate(classes.names) if number != label]
        line += f"; never there: {shown(absent)}"
    problems.warn("one class", f"{line}. Give the rest a class of its own")


def _look_at_labels(path: str) -> Fact:
    """How many pixels have each value, or each colour of a picture that has any."""
    pixels = read_picture(path)
    values = one_channel(pixels)
    kind = "values" if values is not None else "colors"
    values = rgb2id(pixels) if values is None else values
    present, places = unique_labels(values)
    counts = np.bincount(places.ravel(), minlength=len(present))
    fact: Fact = {kind: [present.tolist(), counts.tolist()]}
    if kind == "values" and pixels.ndim == 3 and pixels.shape[2] >= 3:
        greys = [packed_color((value, value, value)) for value in present.tolist()]
        fact["colors"] = [greys, counts.tolist()]
    return fact


def _classes_in(
    record: Record, key: str, fact: Fact, num_classes: int, void: int
) -> dict[int, int]:
    """Pixels by class of one PNG, -1 for void.

    Raises:
        ValueError: A value stands for no class.
    """
    table = record.get(LABELS_KEY)
    meanings = _meanings(table, fact, num_classes, void)
    if meanings is None:
        raise ValueError(
            f"{record[key]} has colours, wanted one number per pixel, the class of the label; the "
            '"color" of every category in a row of DATASETS.CUSTOM says what they mean'
        )
    kind, classes = meanings
    found: dict[int, int] = {}
    for value, count in zip(*fact[kind]):
        if value not in classes:
            place = f"{record[key]} has the {label_text(value, kind == 'colors')} in {count} pixels"
            if table is not None:
                hint = swap_hint(fact[kind][0], classes) if kind == "colors" else ""
                raise ValueError(f"{place}, which is that of no category{hint}")
            hint = "" if 0 in fact[kind][0] else ": are they counted from 1?"
            raise ValueError(
                f"{place}, but the {num_classes} classes are numbered 0 to {num_classes - 1} "
                f"({void} is ignored){hint}"
            )
        label = classes[value]
        label = -1 if label is None else label
        found[label] = found.get(label, 0) + count
    return found


def _meanings(
    table: LabelTable | None, fact: Fact, num_classes: int, void: int
) -> tuple[str, Mapping[int, int | None]] | None:
    """Whether a PNG has "values" or "colors", and their classes; None where it cannot be read."""
    if table is not None and table.class_of_color is not None and "colors" in fact:
        are_known = set(fact["colors"][0]) <= set(table.class_of_color)
        if are_known or "values" not in fact:  # grey pictures may be saved in three channels
            return "colors", table.class_of_color
    if "values" not in fact:
        return None
    if table is not None:
        return "values", table.class_of_value
    return "values", {**dict(zip(range(num_classes), range(num_classes))), void: None}

"""Every count of a report against a tally that is kept while the set is drawn.

Every fault is there another number of times, photos are not square, no two of one size.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from freeseg.data.check import CheckSettings

sys.path.insert(0, str(Path(__file__).parents[2]))
from turned_images import exif_of

NAMES = ["ant", "bee", "soil", "leaf", "moth", "weed"]


class Drawn:
    """Records and files of a set, and how often it has what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[dict] = []
        self.count: Counter[str] = Counter()
        self.of_class: Counter[int] = Counter()
        self.fullest = (0, "")
        self.random = np.random.default_rng(3)

    def photo(self, name, size=None, orientation=0, bits=0):
        """Writes a photo and gives the record of it, with its size."""
        number = len(self.records)
        height, width = size or (20 + number, 31 + 2 * number)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if bits:
            pixels = np.linspace(0, 2**bits - 1, height * width).reshape(height, width)
            cv2.imwrite(str(path), pixels.astype(np.uint16))
        else:
            pixels = self.random.integers(0, 255, (height, width, 3), np.uint8)
            exif = {"exif": exif_of(orientation)} if orientation else {}
            Image.fromarray(pixels).save(path, **exif)
        self.count["photos"] += 1
        return {"file_name": str(path), "height": height, "width": width}

    def add(self, record, **more):
        self.records.append({**record, "image_id": 100 - len(self.records), **more})
        return self.records[-1]

    def objects(self, record, *kinds):
        """Adds a record with an object of every kind that is named."""
        rows, good = [], 0
        for kind in kinds:
            left, top = (int(side) for side in self.random.integers(0, 9, 2))
            right, bottom = left + 5, top + 8
            corners = [[left, top, right, top, right, bottom, left, bottom]]
            label = int(self.random.choice([0, 1, 4]))
            row = {"category_id": label, "segmentation": corners, "bbox_mode": 0}
            row["bbox"] = [left, top, right, bottom]
            if kind == "crowd":
                row["iscrowd"] = 1
            elif kind == "bare":
                row["segmentation"] = [None, [], [[1, 2]]][len(rows) % 3]
            elif kind == "outside":
                row["segmentation"] = [[200, 9, 220, 9, 220, 30]]
            elif kind == "elsewhere":
                row["bbox"] = [left + 4, top + 7, right + 4, bottom + 7]
            is_learned = kind in ("good", "elsewhere")
            self.of_class[label] += is_learned
            good += is_learned
            self.count[kind] += 1
            self.count["objects"] += 1
            rows.append(row)
        self.fullest = max(self.fullest, (good, record["file_name"]))
        return self.add(record, annotations=rows)

    def png(self, name, pixels):
        path = self.folder / "maps" / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        return str(path)

    def labels(self, record, values, name):
        """Adds a record with a PNG whose rows have the values in turn."""
        pixels = np.resize(np.array(values, np.uint8), record["height"])[:, None]
        pixels = pixels.repeat(record["width"], 1)
        self.count["label PNGs"] += 1
        return self.add(record, sem_seg_file_name=self.png(name, pixels))

    def segments(self, record, listed, present, name, factor=1.0):
        """Adds a panoptic record whose PNG has `present` in its columns, of the ids `listed`."""
        ids = np.resize(np.sort(present), record["width"])[None].repeat(record["height"], 0)
        pixels = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        rows = [
            {"id": each, "category_id": 2 + each % 2, "area": factor * int((ids == each).sum())}
            for each in listed
        ]
        for row in rows:
            self.of_class[row["category_id"]] += 1
        self.fullest = max(self.fullest, (len(rows), record["file_name"]))
        self.count["objects"] += len(rows)
        self.count["panoptic PNGs"] += 1
        self.count["no pixel"] += len(set(listed) - set(present))
        self.count["strange"] += bool(set(present) - {*listed, 0})
        path = self.png(name, pixels)
        return self.add(record, pan_seg_file_name=path, segments_info=rows)


@pytest.fixture
def drawn(tmp_path):
    return Drawn(tmp_path)


def test_every_warning_counts_what_there_is(drawn, checked):
    """Nothing is an error here, as errors hide some of them."""
    kinds = ["good"] * 9 + ["crowd"] * 2 + ["bare"] * 7 + ["outside"] * 4 + ["elsewhere"] * 3
    drawn.random.shuffle(kinds)
    for number, share in enumerate(np.split(np.array(kinds), [3, 8, 10, 17])):
        record = drawn.photo(f"{number}.jpg")
        drawn.objects(record, *share.tolist())
    twins = drawn.photo("twins.png"), drawn.photo("triplets.png")
    for record, times in zip(twins, (2, 3)):
        for _ in range(times):
            drawn.objects(record, "good")
    for number, (orientation, size) in enumerate([(6, (40, 40)), (3, (21, 50)), (8, (33, 33))]):
        record = drawn.photo(f"turned_{number}.jpg", size, orientation)
        drawn.objects(record, "good")
    for number in range(2):
        drawn.objects(drawn.photo(f"deep_{number}.png", bits=12), "good")
    for number, values in enumerate([(0, 1), (1, 255), (0,), (3, 0), (1, 3, 3), (0, 255)]):
        name = {0: "labels_1", 1: "labels_0", 2: "scan"}.get(number, f"labels_{number}")
        drawn.labels(drawn.photo(f"labels_{number}.jpg"), values, f"{name}.png")
    for number, (listed, present, factor) in enumerate([
        ((700, 70_001), (700, 70_001), 1.0),
        ((5, 6, 9), (0, 5, 300), 1.0),
        ((1, 8), (8, 1, 2, 3), 1.11),
        ((3, 70_000), (3, 70_000), 0.5),
        ((11,), (11, 0), 1.09),
        ((21, 22, 23, 24), (22, 23, 900), 1.0),
        ((31, 32), (31, 32), 1.2),
        ((7,), (7, 0), 0.92),
    ]):  # fmt: skip
        name = {0: "parts_3", 3: "parts_4", 4: "parts_0"}.get(number, f"parts_{number}")
        record = drawn.photo(f"parts_{number}.jpg")
        drawn.segments(record, listed, present, f"{name}.png", factor)

    most, photo = drawn.fullest
    settings = CheckSettings(max_objects=most - 1, max_objects_key="KEY")
    errors, warnings = checked(drawn.records, settings, thing_classes=NAMES)
    assert errors == []
    name, count = checked.name, drawn.count
    assert (count["bare"], count["outside"], count["elsewhere"], count["strange"]) == (7, 4, 3, 3)
    assert count["no pixel"] == 4
    expected = [
        "2 photos are listed more than once, such as .*/twins.png .2 times.: ",
        f"EXIF's orientation turns 3 of {count['photos']} photos, such as turned_0.jpg",
        "2 photos have 16 bits per value, such as deep_0.png, and none of 2 is brighter than "
        "4095: if the camera has 12 bits, say INPUT.WHITE_LEVEL 4095; 65535 is taken for white, "
        "and 15 of 256 grey levels are left$",
        f"7 of {count['objects']} objects have no mask ",
        f"the masks of 4 of {count['objects']} objects have no pixel in the photo, such as ",
        f"the masks of 3 of {count['objects']} objects lie elsewhere than their bbox, such as ",
        "3 of 8 PNGs have the name of another photo, such as .*/parts_3.png of .*/parts_0.jpg",
        "3 of 8 panoptic PNGs have ids that the JSON does not list, such as .*/parts_1.png: void",
        "3 of 8 panoptic PNGs show most segments in another size than the JSON's area, such as "
        ".*/parts_2.png of .*/parts_2.jpg",
        "4 listed segments have no pixel in their PNG: left out",
        "2 of 6 PNGs have the name of another photo, such as .*/labels_1.png of .*/labels_0.jpg",
        "no pixel of 3 of 6 classes: soil, moth, weed$",
        "no object of 1 of 6 classes: weed$",
        f"{re.escape(photo)} has {most} objects, the model {most - 1} queries: some are never "
        "learned; raise KEY$",
    ]
    for line in expected:
        assert [each for each in warnings if re.match(f"{name}: (the photo )?{line}", each)], line
    assert len(warnings) == len(expected)
    summary = checked.summary
    assert (summary.objects, summary.classes) == (count["objects"], 6)
    assert len(summary.photos) == count["photos"]
    unused = [each for label, each in enumerate(NAMES) if not drawn.of_class[label]]
    assert unused == ["weed"]


KINDS = {  # kind, and what its lines have
    "form of records": r"record \d+ ",
    "records": "has no ground truth|both have the image_id",
    "photos that cannot be read": r"\.(png|jpg) (does not exist|is )",
    "sizes": "pixels .width x height., its annotation says",
    "objects": r"object \d+ of ",
    "PNGs that cannot be read": r"maps/\S+ .*(does not exist|is not an image|is corrupted)",
    "sizes of PNGs": r"maps/\S+ is \d+x\d+ pixels, its photo is",
    "labels": "has the label 6 in",
}


def counted(lines):
    """How many errors of a kind there are, also those that are only counted."""
    found: Counter[str] = Counter()
    for line in lines:
        more = re.fullmatch(r"\.\.\. and (\d+) more of this kind \((.*)\)", line)
        if more:
            found[more[2]] += int(more[1])
            continue
        (kind,) = [kind for kind, text in KINDS.items() if re.search(text, line)][-1:]
        found[kind] += 1
    return found


def add_wrong_records(drawn):
    for number in range(3):
        drawn.objects(drawn.photo(f"good_{number}.png"), "good", "good")
    for number in range(4):
        record = drawn.photo(f"untrue_{number}.png")
        drawn.add(record)
    for number in range(2):
        drawn.objects(drawn.photo(f"same_{number}.png"), "good")["image_id"] = 100
    for number in range(5):
        drawn.objects({"file_name": f"absent_{number}.png", "height": 9, "width": 8}, "good")
    for number in range(2):
        record = drawn.objects(drawn.photo(f"cut_{number}.png"), "good")
        path = Path(record["file_name"])
        path.write_bytes(path.read_bytes()[:300])
    for number in range(8):
        record = drawn.objects(drawn.photo(f"other_{number}.png"), "good")
        record["height"] += 1 + number % 2
    wrong = [{"category_id": 6}, {"iscrowd": 3}, {"bbox": [1, 2, 3]}, {"bbox_mode": 2}]
    wrong += [{"segmentation": [[1, 2, 3]]}] * 5
    for number, change in enumerate(wrong):
        record = drawn.objects(drawn.photo(f"wrong_{number}.png"), "good", "good")
        record["annotations"][number % 2].update(change)


def add_wrong_pngs(drawn):
    for number in range(3):
        drawn.labels(drawn.photo(f"map_{number}.png"), (0, 6), f"map_{number}.png")
    for number in range(4):
        record = drawn.labels(drawn.photo(f"lost_{number}.png"), (0, 1), f"lost_{number}.png")
        path = Path(record["sem_seg_file_name"])
        content = {0: None, 1: b"text", 2: path.read_bytes()[:-30]}.get(number)
        path.unlink()
        if content:
            path.write_bytes(content)
    for number in range(6):
        record = drawn.photo(f"small_{number}.png")
        drawn.labels({**record, "width": 9}, (0, 1), f"small_{number}.png").update(record)
        drawn.records[-1]["image_id"] = f"small {number}"


def test_every_error_is_one_line_or_counted(drawn, checked):
    broken = [3, {"annotations": []}]
    add_wrong_records(drawn)
    add_wrong_pngs(drawn)
    errors, _ = checked(broken + drawn.records, thing_classes=NAMES)
    assert counted(errors) == {
        "form of records": 2, "records": 6, "photos that cannot be read": 7, "sizes": 8,
        "objects": 9, "PNGs that cannot be read": 4, "sizes of PNGs": 6, "labels": 3,
    }  # fmt: skip

"""Limits of the check: exactly the limit passes, one step beside it does not."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from detectron2.structures import BoxMode
from freeseg.data.check import CheckSettings, photos
from freeseg.data.check.maps import check_maps
from freeseg.data.check.objects import count_objects
from freeseg.data.check.photos import check_photos, look_at_photo
from freeseg.data.datasets.catalog import LABELS_KEY, STUFF_KEY
from freeseg.data.label_table import LabelTable, packed_color
from freeseg.data.problems import Problems
from freeseg.image_headers import ImageHeader
from freeseg.structures import Vocabulary

CLASSES = Vocabulary(("soil", "leaf"), (False, True))


# photos


def files(folder):
    """A whole file of every format whose end is known, with what comes behind it at times."""
    pixels = np.random.default_rng(0).integers(0, 255, (9, 13, 3), np.uint8)
    for kind, rest in {"jpg": b"\0\r\n ", "png": b"\0" * 40, "gif": b"\0\0", "webp": b"\0" * 9,
                       "bmp": b"\0" * 70}.items():  # fmt: skip
        path = folder / f"a.{kind}"
        Image.fromarray(pixels).save(path)
        path.with_stem("b").write_bytes(path.read_bytes() + rest)
        yield path
        yield path.with_stem("b")


def test_whole_files_are_not_decoded(tmp_path, monkeypatch):
    """Their header and end are enough: a set of a million photos is looked at in minutes."""

    def refuse(path):
        raise AssertionError(f"{path} is decoded")

    monkeypatch.setattr(photos, "read_image", refuse)
    for path in files(tmp_path):
        fact = look_at_photo(str(path))
        expected = {"height": 9, "width": 13, "orientation": 1, "is_deep": False, "problem": ""}
        assert fact == expected, path


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "webp", "bmp"])
def test_files_that_end_a_byte_early_are_decoded(tmp_path, monkeypatch, kind):
    decoded = []
    monkeypatch.setattr(photos, "read_image", decoded.append)
    path = tmp_path / f"a.{kind}"
    Image.new("RGB", (13, 9)).save(path)
    content = path.read_bytes()
    end = {"png": content.find(b"IEND") + 3, "gif": len(content.rstrip(b"\0")) - 1}
    path.write_bytes(content[: end.get(kind, len(content) - 1)])
    assert look_at_photo(str(path))["problem"] == ""
    assert decoded == [str(path)]


def test_the_end_of_a_png_is_looked_for_in_64_bytes(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(photos, "read_image", lambda path: decoded.append(Path(path).name))
    Image.new("RGB", (13, 9)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    end = len(content) - content.find(b"IEND")
    for more in (64 - end, 65 - end):
        path = tmp_path / f"{more + end}.png"
        path.write_bytes(content + bytes(more))
        look_at_photo(str(path))
    assert decoded == ["65.png"]


def test_a_photo_without_a_header_that_can_be_decoded_has_no_size(tmp_path, monkeypatch):
    (tmp_path / "a.xyz").write_bytes(b"of a kind that only a decoder knows")
    monkeypatch.setattr(photos, "read_image", lambda path: None)
    assert look_at_photo(str(tmp_path / "a.xyz")) == {
        "problem": "", "height": 0, "width": 0, "orientation": 1, "is_deep": False
    }  # fmt: skip


@pytest.mark.parametrize(("count", "looked_at"), [(32, 32), (33, 32), (64, 32), (70, 32)])
def test_at_most_32_deep_photos_are_decoded(tmp_path, problems, count, looked_at):
    """Evenly spread: of 64 every other one."""
    cv2.imwrite(str(tmp_path / "dark.png"), np.full((3, 5), 4000, np.uint16))
    cv2.imwrite(str(tmp_path / "bright.png"), np.full((3, 5), 60_000, np.uint16))
    for number in range(count):
        is_skipped = number % 2 == 1 and count >= 64
        os.link(tmp_path / ("bright.png" if is_skipped else "dark.png"), tmp_path / f"{number}.png")
    records = [{"file_name": str(tmp_path / f"{number}.png")} for number in range(count)]
    check_photos("set", records, problems, frame="auto", white_level=65_535)
    (line,) = problems.warnings
    assert line.startswith(f"set: {count} photos have 16 bits per value, such as 0.png, and none ")
    assert f"none of {looked_at} is brighter than 4000: if the camera has 12 bits" in line
    assert "and 15 of 256 grey levels are left" in line


def test_at_least_one_grey_level_is_left(tmp_path, problems):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((3, 5), 200, np.uint16))
    records = [{"file_name": str(tmp_path / "a.png")}]
    check_photos("set", records, problems, frame="auto", white_level=65_535)
    assert problems.warnings[0].endswith("and 1 of 256 grey levels are left")
    before = len(problems.warnings)
    level = int(problems.warnings[0].split("WHITE_LEVEL ")[1].split(";")[0])
    check_photos("set", records, problems, frame="auto", white_level=level)
    assert len(problems.warnings) == before, "exactly that level is no warning"
    check_photos("set", records, problems, frame="auto", white_level=level + 1)
    assert len(problems.warnings) == before + 1


# objects


def iou(one, other):
    """Of boxes (left, top, right, bottom) of whole pixels, by counting them."""
    grids = np.zeros((2, 60, 60), bool)
    for grid, (left, top, right, bottom) in zip(grids, (one, other)):
        grid[top:bottom, left:right] = True
    return (grids[0] & grids[1]).sum(), (grids[0] | grids[1]).sum()


def elsewhere(boxes, mode=BoxMode.XYXY_ABS):
    """Places of objects that are elsewhere: (box of the mask, box that is said)."""
    rows = []
    for (left, top, right, bottom), said in boxes:
        mask = np.zeros((60, 60), bool)
        mask[top:bottom, left:right] = True
        x, y, z, w = said
        box = [x, y, z, w] if mode == BoxMode.XYXY_ABS else [x, y, z - x, w - y]
        rows.append({"category_id": 0, "segmentation": mask, "bbox": box})
        if mode != BoxMode.XYXY_ABS or len(rows) % 2:
            rows[-1]["bbox_mode"] = mode
    record = {"file_name": "a.png", "height": 60, "width": 60, "annotations": rows}
    counts = count_objects("set", [record], 2, Problems())
    assert counts.of_class[0] == len(rows), "masks count"
    return [int(line.split()[1]) for line in counts.elsewhere]


@pytest.mark.parametrize("mode", [BoxMode.XYXY_ABS, BoxMode.XYWH_ABS])
def test_a_mask_is_elsewhere_below_half_of_an_overlap(mode):
    random = np.random.default_rng(5)
    boxes, expected = [], []
    for number in range(150):
        left, top, said_left, said_top = (int(each) for each in random.integers(0, 20, 4))
        sides = [int(each) for each in random.integers(4, 40, 4)]
        mask = (left, top, left + sides[0], top + sides[1])
        said = (said_left, said_top, said_left + sides[2], said_top + sides[3])
        shared, union = iou(mask, said)
        boxes.append((mask, said))
        if 2 * shared < union:
            expected.append(number)
    assert 20 < len(expected) < 148
    assert elsewhere(boxes, mode) == expected
    exactly = ((0, 0, 10, 10), (0, 0, 20, 10)), ((0, 0, 10, 10), (0, 0, 10, 20))
    assert elsewhere(exactly, mode) == []
    assert elsewhere([((0, 0, 10, 10), (0, 0, 21, 10))], mode) == [0]


def test_the_fullest_photo_counts_what_can_be_learned():
    records = []
    for number, kinds in enumerate([(0, 0, 1, 1, 1, 1), (0, 0, 0), (1, 0, 0, 0), (0,) * 3]):
        mask = np.ones((6, 7), bool)
        rows = [{"category_id": 1, "segmentation": mask, "iscrowd": each} for each in kinds]
        name = f"{number}.png"
        records.append({"file_name": name, "height": 6, "width": 7, "annotations": rows})
    counts = count_objects("set", records, 2, Problems())
    assert counts.most == (3, "3.png")
    assert (counts.objects, counts.crowds, counts.of_class) == (16, 5, Counter({1: 11}))


def test_objects_of_photos_that_cannot_be_read_count_where_they_say_a_mask():
    rows = [{"category_id": 1, "segmentation": [[9]]}, {"category_id": 0}]
    counts = count_objects("set", [{"file_name": "a", "annotations": rows}], 2, Problems())
    assert (counts.objects, counts.of_class) == (2, Counter({1: 1}))
    assert (counts.without_mask, counts.without_pixel, counts.elsewhere) == (0, [], [])


# PNGs


@pytest.mark.parametrize(("count", "looked_at"), [(1000, 1000), (1001, 501), (2001, 667)])
def test_a_thousand_pngs_are_decoded_or_every_so_manieth(tmp_path, problems, count, looked_at):
    Image.fromarray(np.full((2, 3), 9, np.uint8)).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", "pan_seg_file_name": str(tmp_path / "a.png")}
    record["segments_info"] = [{"id": 9 * 65_793}, {"id": 4}]
    check_maps("set", [record] * count, {}, CLASSES, 255, problems)
    assert problems.warnings == [
        f"set: {looked_at} listed segments have no pixel in their PNG: left out"
    ]


@pytest.mark.parametrize(
    ("areas", "is_said"),
    [
        ((110, 110), False), ((111, 100), False), ((111, 111), True), ((89, 89), True),
        ((90, 90), False), ((111, None), True), ((111, True), True), (("150", 100), False),
    ],
)  # fmt: skip
def test_areas_may_differ_by_a_tenth_and_half_of_them_by_more(tmp_path, problems, areas, is_said):
    """Segments of 100 pixels each; what is no number is not said."""
    ids = np.repeat([1, 2], 10)[None].repeat(10, 0)
    pixels = np.stack([ids, 0 * ids, 0 * ids], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    rows = [{"id": number, "area": area} for number, area in enumerate(areas, 1)]
    rows = [row for row in rows if row["area"] is not None] + [{"id": 77, "area": 5}]
    record = {"file_name": "a.jpg", "pan_seg_file_name": str(tmp_path / "a.png")}
    check_maps("set", [{**record, "segments_info": rows}], {}, CLASSES, 255, problems)
    assert any("in another size" in line for line in problems.warnings) == is_said


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_png_may_lie_as_its_photo_or_stand_upright(tmp_path, problems, orientation):
    sizes = {"lying": (4, 7), "upright": (7, 4), "other": (4, 6)}
    headers = {}
    records = []
    for name, size in sizes.items():
        Image.fromarray(np.zeros(size, np.uint8)).save(tmp_path / f"{name}.png")
        headers[f"{name}.jpg"] = ImageHeader((4, 7), orientation)
        png = str(tmp_path / f"{name}.png")
        records.append({"file_name": f"{name}.jpg", "sem_seg_file_name": png})
    check_maps("set", records, headers, CLASSES, 255, problems)
    passing = {"lying"} if orientation == 1 else {"lying", "upright"}
    named = {Path(line.split()[1]).stem for line in problems.errors}
    assert named == set(sizes) - passing
    size = "7x4" if orientation == 1 else "4x7"
    assert problems.errors[-1].endswith(f"other.png is 6x4 pixels, its photo is {size}")


def test_stuff_pngs_are_looked_at_and_may_lack_classes(tmp_path, problems):
    """Their things are elsewhere."""
    classes = Vocabulary(("soil", "leaf", "weed"), (False, True, True))
    Image.fromarray(np.array([[0, 1, 1], [1, 0, 255]], np.uint8)).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", STUFF_KEY: str(tmp_path / "a.png")}
    check_maps("set", [record], {}, classes, 255, problems)
    assert problems.errors == problems.warnings == []
    Image.fromarray(np.array([[0, 3, 3]], np.uint8)).save(tmp_path / "a.png")
    check_maps("set", [record], {}, classes, 255, problems)
    assert "has the label 3 in 2 pixels" in problems.errors[0]


def test_one_class_is_said_with_those_that_are_never_there(tmp_path, problems):
    """Of two classes one is never there, of one none."""
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / "a.png")}
    check_maps("set", [record], {}, CLASSES, 255, problems)
    check_maps("set", [record], {}, Vocabulary(("all",), (False,)), 255, problems)
    two, one = problems.warnings
    assert "; never there: leaf. Give the rest a class of its own" in two
    assert "never there" not in one
    assert "all others are" not in two + one


GREYS = [(0, 0, 0), (10, 10, 10), (20, 20, 20)]


@pytest.mark.parametrize(("values", "expected"), [((0, 10, 20), {0, 1}), ((0, 10, 30), None)])
def test_grey_pictures_have_the_colours_of_a_table_where_all_are_known(
    tmp_path, problems, values, expected
):
    """Else they are ids in three channels: 30 is the first class, 10 none."""
    table = LabelTable({99: None, 30: 0, 40: 1}, dict(zip(map(packed_color, GREYS), (None, 0, 1))))
    pixels = np.resize(np.array(values, np.uint8), (3, 6))
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / "a.png"), LABELS_KEY: table}
    check_maps("set", [record], {}, CLASSES, 255, problems)
    assert problems.warnings == []
    said = [line.split("a.png ")[1] for line in problems.errors]
    wrong = ["has the label 0 in 6 pixels, which is that of no category"]
    assert said == ([] if expected else wrong)


def test_labels_beyond_the_classes_are_counted_and_0_tells_from_where(tmp_path, problems):
    for number, values in enumerate([(1, 2), (0, 2), (255, 2)]):
        pixels = np.resize(np.array(values, np.uint8), (3, 4))
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    records = [
        {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / f"{number}.png")}
        for number in range(3)
    ]
    check_maps("set", records, {}, CLASSES, 255, problems)
    hints = [line.endswith(": are they counted from 1?") for line in problems.errors]
    assert hints == [True, False, True]
    assert all("has the label 2 in 6 pixels, but the 2 classes" in line for line in problems.errors)


# tasks

TRUTH = {  # keys of a record, and the tasks that it has truth for
    "annotations": {"semantic", "instance", "panoptic"},
    "sem_seg_file_name": {"semantic", "panoptic"},
    "pan_seg_file_name": {"semantic", "instance", "panoptic"},
    STUFF_KEY: set(),
}
WANTED = {
    "semantic": "sem_seg_file_name or pan_seg_file_name or annotations",
    "instance": "annotations or pan_seg_file_name",
    "panoptic": "pan_seg_file_name or annotations or sem_seg_file_name",
}


@pytest.mark.parametrize("with_json", [False, True])
@pytest.mark.parametrize("key", TRUTH)
def test_records_need_truth_for_every_task(checked, tmp_path, key, with_json):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 1]], np.uint8).repeat(5, 0)).save(tmp_path / "b.png")
    record = {"file_name": str(tmp_path / "a.png"), "height": 5, "width": 7, key: []}
    if key != "annotations":
        record.update({key: str(tmp_path / "b.png"), "segments_info": []})
    tasks = ("panoptic", "instance", "semantic")
    metadata = {"json_file": "a.json"} if with_json else {}
    settings = CheckSettings(tasks=tasks)
    errors, _ = checked([record], settings, stuff_classes=["soil", "leaf"], **metadata)
    said = [line for line in errors if "has no truth for the" in line]
    refused = [each for each in tasks if f"for the {each} task" in " ".join(said)]
    has_truth = TRUTH[key] | ({"instance"} if with_json else set())
    assert refused == [each for each in tasks if each not in has_truth]
    assert [line.split("wanted ")[1] for line in said] == [WANTED[each] for each in refused]


def test_a_set_without_class_names_counts_its_photos_alone(checked, tmp_path):
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    rows = [{"category_id": 0, "segmentation": None}]
    checked([{"file_name": str(tmp_path / "a.png"), "annotations": rows}])
    summary = checked.summary
    assert (len(summary.photos), summary.objects, summary.classes) == (1, 0, 0)
    assert count_objects("set", [], 2, Problems()).most == (0, "")

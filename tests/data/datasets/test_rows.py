"""Rows of annotation files: every kind of value in every field, and what of a file is used."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable

import pytest

from detectron2.data import DatasetCatalog
from freeseg.catalog import dataset_metadata
from freeseg.data.categories import Category
from freeseg.data.datasets import custom
from freeseg.data.datasets.catalog import (
    PanopticFiles,
    ignore_label_of,
    load_panoptic,
    load_records,
    register,
    register_panoptic,
)
from freeseg.data.datasets.instances import load_instances
from freeseg.data.datasets.json_rows import (
    FileName,
    ListedImages,
    check_known,
    check_row,
    list_of,
    numbered_rows_of,
    read_field,
    read_json,
    require_some,
    without_twins,
)
from freeseg.data.datasets.registration import check_registered
from freeseg.data.problems import DataError, Problems

VALUES = {  # a value, and the kinds that it is of
    "true": (True, {bool, Hashable}),
    "false": (False, {bool, Hashable}),
    "0": (0, {int, bool, Hashable}),
    "1": (1, {int, bool, Hashable}),
    "2": (2, {int, Hashable}),
    "-1": (-1, {int, Hashable}),
    "1.0": (1.0, {int, bool, Hashable}),
    "0.0": (0.0, {int, bool, Hashable}),
    "3.0": (3.0, {int, Hashable}),
    "0.5": (0.5, {Hashable}),
    "infinite": (math.inf, {Hashable}),
    "no number": (math.nan, {Hashable}),
    "text": ("a.png", {str, FileName, Hashable}),
    "spaces": (" \t", {str, Hashable}),
    "empty": ("", {str, Hashable}),
    "null": (None, set()),
    "list": ([1], {list}),
    "object": ({"a": 1}, {dict}),
    "tuple": ((1, 2), set()),
}
WANTED = {
    str: "a text", FileName: "the name of a file", int: "a whole number", list: "a list",
    dict: "an object", bool: "true, false, 1 or 0", Hashable: "a number or a text",
}  # fmt: skip


@pytest.mark.parametrize(("value", "kinds"), VALUES.values(), ids=VALUES)
def test_a_value_is_of_its_kinds_and_of_no_other(value, kinds):
    for kind, text in WANTED.items():
        if kind in kinds:
            found = read_field({"x": value}, "x", kind, "row")
            assert found == value or (found != found and value != value)
            if kind in (bool, int):
                assert type(found) is kind
        else:
            got = rf"{type(value).__name__} "
            with pytest.raises(ValueError, match=rf"^row needs 'x', {text}, got {got}"):
                read_field({"x": value}, "x", kind, "row")
    with pytest.raises(ValueError, match=r"^row needs 'y', a list, got nothing$"):
        read_field({"x": value}, "y", list, "row")


def test_rows_keep_their_other_fields():
    row = {"a": 3.0, "b": "text", "c": None}
    assert check_row(row, {"a": int}, "row") == {"a": 3, "b": "text", "c": None}
    assert check_known(row, {"a": int, "z": int}, "row") == {"a": 3, "b": "text", "c": None}
    with pytest.raises(ValueError, match="row must be an object, got list"):
        check_row([], {}, "row")
    with pytest.raises(ValueError, match="row needs 'c', a whole number, got NoneType None"):
        check_known(row, {"c": int}, "row")


def test_wrong_rows_are_left_out_and_the_others_keep_their_place():
    problems = Problems()
    content = {"rows": [{"a": 1}, {"a": "1"}, 5, {"a": 2}, {}]}
    found = numbered_rows_of(content, "rows", {"a": int}, "f.json", problems)
    assert found == [(0, {"a": 1}), (3, {"a": 2})]
    assert [line.split()[1] for line in problems.errors] == ["rows[1]", "rows[2]", "rows[4]"]
    for wrong in (content, [], {"other": {}}):
        with pytest.raises(ValueError, match=r"f\.json has no list 'other'"):
            list_of(wrong, "other", "f.json")


def test_the_first_of_rows_with_one_id_stays():
    problems = Problems()
    rows = [{"id": 3, "n": 0}, {"id": "3", "n": 1}, {"id": 3, "n": 2}, {"id": 3.0, "n": 3}]
    assert [row["n"] for row in without_twins(rows, "id", "rows", problems)] == [0, 1]
    assert problems.errors == [
        "rows have the id 3 twice; ids must be unique",
        "rows have the id 3.0 twice; ids must be unique",
    ]


LISTED = {  # rows of images, the image of an annotation, and what is said
    "known": ([{"id": 3}], 3, None),
    "unknown": ([{"id": 3}, {"id": 4}], 5, "which the file does not list"),
    "of another type": ([{"id": "3"}], 3, "a number, but the file lists the image '3', a text"),
    "the same": ([{"id": 3}], "3", "a text, but the file lists the image 3, a number"),
    "one without an id": ([{"id": 3}, {}], 5, None),
    "one of another kind": ([{"id": 3}, {"id": [4]}], 5, None),
    "no object": ([{"id": 3}, 7], 5, None),
    "no rows": ([], 5, None),
    "null": (None, 5, None),
}


@pytest.mark.parametrize(("rows", "image_id", "said"), LISTED.values(), ids=LISTED)
def test_images_are_unknown_only_where_all_ids_are_known(rows, image_id, said):
    images = ListedImages({"images": rows})
    if said is None:
        images.refuse_unknown(image_id, "annotation 9")
        return
    with pytest.raises(ValueError, match=f"^annotation 9 is of the image {image_id!r}, .*{said}"):
        images.refuse_unknown(image_id, "annotation 9")
    ListedImages([1]).refuse_unknown(image_id, "a file that is no object")


def test_a_set_is_here_where_one_of_its_files_is(tmp_path):
    (tmp_path / "b").touch()
    require_some([str(tmp_path / "a"), str(tmp_path / "b")], "hint")
    require_some([], "hint")
    with pytest.raises(FileNotFoundError, match=r"/a does not exist; get it"):
        require_some([str(tmp_path / "a"), str(tmp_path / "c")], "get it")


@pytest.mark.parametrize("content", ['{"a": ', "", "\xff\xfe", "[" * 100_000])
def test_what_is_no_json_is_told(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"a\.json is no JSON, or was cut off"):
        read_json(path, "hint")
    with pytest.raises(FileNotFoundError, match=r"b\.json does not exist; hint"):
        read_json(tmp_path / "b.json", "hint")


THINGS = [Category(7, "nut", True, (0, 0, 0)), Category(3, "bolt", True, (0, 0, 0))]
POLYGON = [[2, 3, 9, 3, 9, 8, 2, 8]]
BOXES = {  # what is said, and what is read of it; None is an error
    "whole": ([1, 2, 3, 4], [1, 2, 3, 4]),
    "without width": ([1, 2, 0, 4], [1, 2, 0, 4]),
    "without height": ([1, 2, 3, 0.0], [1, 2, 3, 0.0]),
    "left of the photo": ([-1, -2.5, 3, 4], [-1, -2.5, 3, 4]),
    "none": (None, [2, 3, 7, 5]),
    "of negative width": ([1, 2, -0.1, 4], None),
    "of negative height": ([1, 2, 3, -1], None),
    "of three": ([1, 2, 3], None),
    "of five": ([1, 2, 3, 4, 5], None),
    "of texts": (["1", 2, 3, 4], None),
    "endless": ([1, 2, 3, math.inf], None),
    "of no numbers": ([math.nan, 2, 3, 4], None),
    "text": ("1234", None),
}


@pytest.mark.parametrize(("given", "read"), BOXES.values(), ids=BOXES)
def test_boxes_are_four_numbers_or_those_around_the_mask(tmp_path, given, read):
    (tmp_path / "a.png").touch()
    row = {"image_id": "x", "category_id": 3, "bbox": given, "segmentation": POLYGON, "area": 1.5}
    images = [{"id": "x", "file_name": "a.png", "height": 20, "width": 30}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": images, "annotations": [row]}))
    problems = Problems()
    (record,) = load_instances(path, tmp_path, THINGS, "hint", problems)
    common = {"category_id": 1, "iscrowd": 0, "segmentation": POLYGON, "area": 1.5}
    if read is None:
        (line,) = problems.errors
        assert "annotations[0] needs 'bbox', x, y, width, height >= 0, got " in line
        assert record["annotations"] == []
    else:
        assert record["annotations"] == [{**common, "bbox": read, "bbox_mode": 1}]
        assert problems.errors == []
    expected = {"file_name": str(tmp_path / "a.png"), "image_id": "x", "height": 20, "width": 30}
    assert {key: record[key] for key in expected} == expected


def test_an_object_without_mask_and_box_has_neither(tmp_path):
    (tmp_path / "a.png").touch()
    images = [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}]
    rows = [{"image_id": 1, "category_id": 7, "iscrowd": 1.0, "id": "one"}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": images, "annotations": rows}))
    (record,) = load_instances(path, tmp_path, THINGS, "hint", Problems())
    assert record["annotations"] == [
        {"category_id": 0, "iscrowd": 1, "segmentation": None, "id": "one"}
    ]
    path.write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(ValueError, match=r"a\.json lists no images"):
        load_instances(path, tmp_path, THINGS, "hint", Problems())


CLASSES = [Category(40, "sky", False, (0, 0, 0)), Category(9, "kite", True, (0, 0, 0))]


def panoptic(folder, images, annotations, **more):
    for name in ("photos", "ids"):
        (folder / name).mkdir(exist_ok=True)
    for row in annotations:
        (folder / "ids" / row["file_name"]).touch()
        (folder / "photos" / f"{row['file_name'][:-4]}.jpg").touch()
    path = folder / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return PanopticFiles(folder / "photos", folder / "ids", path, **more)


def annotation(image_id, *segments):
    return {"image_id": image_id, "file_name": f"{image_id}.png", "segments_info": segments}


def test_records_of_a_panoptic_json_without_and_with_images(tmp_path):
    segment = {"id": 16_777_215, "category_id": 9, "iscrowd": True}
    rows = [annotation("b", segment), annotation("a")]
    files = panoptic(tmp_path, [], rows)
    expected = [
        {
            "file_name": f"{tmp_path}/photos/{name}.jpg", "image_id": name,
            "pan_seg_file_name": f"{tmp_path}/ids/{name}.png",
            "segments_info": [{**segment, "category_id": 1, "isthing": True, "iscrowd": 1}]
            if name == "b" else [],
        }
        for name in "ba"
    ]  # fmt: skip
    assert load_panoptic(files, CLASSES, Problems()) == expected
    images = [
        {"id": "a", "file_name": "b.jpg", "height": 4, "width": 6, "caption": "two"},
        {"id": "b", "file_name": "a.jpg", "height": 5, "date": "today"},
    ]
    files = panoptic(tmp_path, images, rows, sem_seg_root=tmp_path / "ids")
    first, second = expected
    first.update(file_name=f"{tmp_path}/photos/a.jpg", sem_seg_file_name=f"{tmp_path}/ids/b.png")
    second.update(file_name=f"{tmp_path}/photos/b.jpg", sem_seg_file_name=f"{tmp_path}/ids/a.png")
    second.update(height=4, width=6, caption="two")
    assert load_panoptic(files, CLASSES, Problems()) == expected


def test_photos_and_pngs_of_another_place_are_told(tmp_path):
    files = panoptic(tmp_path, [], [annotation("a")])
    for folder, kind in (("photos", "jpg"), ("ids", "png")):
        (tmp_path / folder / "deep").mkdir()
        (tmp_path / folder / f"a.{kind}").rename(tmp_path / folder / "deep" / f"a.{kind}")
    problems = Problems()
    (record,) = load_panoptic(files, CLASSES, problems)
    assert record["file_name"] == f"{tmp_path}/photos/deep/a.jpg"
    assert record["pan_seg_file_name"] == f"{tmp_path}/ids/deep/a.png"
    assert [line.rsplit("such as ")[1] for line in problems.warnings] == [
        "'a.jpg' as 'deep/a.jpg'", "'a.png' as 'deep/a.png'"
    ]  # fmt: skip


def test_a_panoptic_json_needs_rows_and_a_file_of_every_kind(tmp_path):
    files = panoptic(tmp_path, [], [])
    with pytest.raises(ValueError, match=r"set\.json has no annotations"):
        load_panoptic(files, CLASSES, Problems())
    for lost in ("photos/a.jpg", "ids/a.png"):
        files = panoptic(tmp_path, [], [annotation("a")])
        (tmp_path / lost).unlink()
        with pytest.raises(FileNotFoundError, match=f"{lost} does not exist; see 'Datasets'"):
            load_panoptic(files, CLASSES, Problems())
    files = panoptic(tmp_path, [], [annotation("a")], sem_seg_root=tmp_path / "no", hint="get it")
    with pytest.raises(FileNotFoundError, match=r"no/a\.png does not exist; get it"):
        load_panoptic(files, CLASSES, Problems())


@pytest.mark.parametrize("number", [1, 256**3 - 1])
def test_segment_ids_reach_both_ends(tmp_path, number):
    files = panoptic(tmp_path, [], [annotation("a", {"id": number, "category_id": 40})])
    (record,) = load_panoptic(files, CLASSES, Problems())
    assert record["segments_info"] == [{"id": number, "category_id": 0, "isthing": False}]


def test_metadata_of_a_panoptic_set_names_only_what_it_has(tmp_path, loader):
    files, calls = panoptic(tmp_path, [], [annotation("a")]), []
    name = loader([])
    DatasetCatalog.remove(name)
    register_panoptic(name, files, CLASSES, generate=lambda: calls.append(1), ignore_label=77)
    values = dataset_metadata(name).as_dict()
    assert {"sem_seg_root", "json_file"}.isdisjoint(values)
    assert (values["ignore_label"], ignore_label_of(name)) == (77, 77)
    assert len(load_records(name, Problems())) == len(calls) == 1
    DatasetCatalog.get(name)
    assert len(calls) == 2, "before each load"


def test_a_loader_with_problems_is_refused_by_the_catalogue_and_heard_here(loader):
    def load(problems):
        problems.error("kind", "one thing")
        return [{"file_name": "a.png"}]

    name = loader([])
    DatasetCatalog.remove(name)
    register(name, load, {})
    assert ignore_label_of(name) == 255
    problems = Problems()
    assert load_records(name, problems) == [{"file_name": "a.png"}]
    assert problems.errors == ["one thing"]
    with pytest.raises(DataError, match="one thing"):
        DatasetCatalog.get(name)


def test_names_that_look_alike_are_proposed():
    with pytest.raises(
        ValueError, match=r"as 'coco_2017_vall'; did you mean coco_2017_val, .*\? d"
    ):
        check_registered(["coco_2017_val", "coco_2017_vall"])
    with pytest.raises(ValueError, match=r"did you mean shapes_val_panoptic\?"):
        check_registered(["my shapes value"])  # a little more than half of it
    with pytest.raises(ValueError, match="registered as '#'; data of your own need their row"):
        check_registered(["#"])
    check_registered([])
    check_registered(["coco_2017_val", "voc_sem_seg_test"])


def test_paths_of_a_row_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    panoptic(tmp_path, [], [annotation("a")])
    content = {
        "annotations": [annotation("a", {"id": 3, "category_id": 40})], "images": [],
        "categories": [{"id": 40, "name": "sky", "isthing": 0}],
    }  # fmt: skip
    (tmp_path / "set.json").write_text(json.dumps(content))
    name = "custom_at_home"
    custom.register_custom([[name, "~/set.json", "~/photos", "~/ids"]])
    (record,) = DatasetCatalog.get(name)
    assert record["file_name"] == f"{tmp_path}/photos/a.jpg"
    assert record["pan_seg_file_name"] == f"{tmp_path}/ids/a.png"

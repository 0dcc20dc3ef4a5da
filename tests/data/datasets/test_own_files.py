"""Files of users: photos of every suffix, label PNGs, rows of a configuration, own loaders."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from detectron2.data import DatasetCatalog
from freeseg.catalog import dataset_metadata
from freeseg.data.datasets.catalog import LABELS_KEY
from freeseg.data.datasets.custom import register_custom
from freeseg.data.datasets.own_loader import check_metadata, own_records
from freeseg.data.datasets.photo_finder import PhotoFinder
from freeseg.data.datasets.semantic import SemanticFiles, load_semantic
from freeseg.data.problems import DataError, Problems
from freeseg.data.records import dataset_records

CATEGORIES = [
    {"id": 300, "name": "nut", "isthing": 1, "color": [9, 0, 255]},
    {"id": 4, "name": "felt", "color": [1, 2, 3]},
    {"id": 17, "name": "bolt", "isthing": 1, "color": [3, 2, 1]},
]
SUFFIXES = ("jpg", "JPG", "jpeg", "Jpeg", "png", "PNG", "webp", "tif", "TIFF", "bmp", "gif")


@pytest.fixture
def labelled(tmp_path, request):
    """Photos of every suffix and their label PNGs, in folders; gives a row of DATASETS.CUSTOM."""

    def make(categories=CATEGORIES, names=SUFFIXES, **more):
        for number, suffix in enumerate(names):
            for folder, kind in (("photos", suffix), ("labels", "PNG" if number % 2 else "png")):
                path = tmp_path / folder / f"day {number % 3}" / f"p{number}.{kind}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / "notes.txt").touch()
        (tmp_path / "set.json").write_text(json.dumps({"categories": categories, **more}))
        name = f"own_files_{request.node.name}"
        return [name, str(tmp_path / "set.json"), str(tmp_path / "photos"),
                str(tmp_path / "labels")]  # fmt: skip

    return make


def test_no_photo_is_skipped_for_its_suffix(labelled, tmp_path):
    row = labelled()
    register_custom([row])
    problems = Problems()
    records = dataset_records(row[0], problems=problems)
    assert problems.errors == problems.warnings == []
    tables = {id(record.pop(LABELS_KEY)) for record in records}
    assert len(tables) == 1
    expected = []
    for number, suffix in enumerate(SUFFIXES):
        key, kind = f"day {number % 3}/p{number}", "PNG" if number % 2 else "png"
        expected.append({
            "file_name": f"{tmp_path}/photos/{key}.{suffix}", "image_id": key,
            "sem_seg_file_name": f"{tmp_path}/labels/{key}.{kind}",
        })  # fmt: skip
    assert records == sorted(expected, key=lambda record: record["image_id"])


def test_the_table_says_what_ids_and_colours_mean(labelled):
    """Things first, then by id: bolt, nut, felt."""
    row = labelled()
    register_custom([row])
    table = DatasetCatalog.get(row[0])[0][LABELS_KEY]
    assert table.class_of_value == {255: None, 17: 0, 300: 1, 4: 2}
    assert table.class_of_color == {
        0: None, 3 + 256 * 2 + 65536: 0, 9 + 65536 * 255: 1, 1 + 256 * 2 + 65536 * 3: 2
    }  # fmt: skip
    metadata = dataset_metadata(row[0])
    values = (metadata.image_root, metadata.sem_seg_root, metadata.evaluator_type)
    assert values == (row[2], row[3], "sem_seg")
    assert metadata.ignore_label == 255
    assert metadata.stuff_classes == ["bolt", "nut", "felt"]
    assert list(metadata.thing_dataset_id_to_contiguous_id) == [17, 300]


@pytest.mark.parametrize(("void", "count"), [(0, 3), (None, 3), (9000, 255), (9000, 256)])
def test_void_is_free_whatever_the_number_of_classes(labelled, void, count):
    rows = [{"id": 1000 + number, "name": f"class {number}"} for number in range(count)]
    row = labelled(rows, **({} if void is None else {"ignore_label": void}))
    register_custom([row])
    table = DatasetCatalog.get(row[0])[0][LABELS_KEY]
    assert table.class_of_color is None, "nobody has a colour"
    assert table.class_of_value[255 if void is None else void] is None
    assert len(table.class_of_value) == count + 1
    assert dataset_metadata(row[0]).ignore_label == max(255, count)


COLORS = {
    "ends": ([0, 255, 128], True), "whole": ([1.0, 2, 3], True), "above": ([0, 256, 1], False),
    "below": ([0, -1, 1], False), "a flag": ([True, 1, 2], False), "two": ([1, 2], False),
    "half": ([0.5, 1, 2], False), "text": ("abc", False),
}  # fmt: skip


@pytest.mark.parametrize(("color", "is_one"), COLORS.values(), ids=COLORS)
def test_colours_are_three_whole_numbers_from_0_to_255(labelled, color, is_one):
    row = labelled([*CATEGORIES[:1], {"id": 1, "name": "other", "color": color}])
    if is_one:
        register_custom([row])
        return
    with pytest.raises(DataError, match=r"category 1 \('other'\) needs 'color', \[R, G, B\]"):
        register_custom([row])


def test_photos_and_labels_that_lack_each_other_are_counted(labelled, tmp_path):
    """Two labels have no photo, four photos no label, three photos share a name."""
    row = labelled(names=SUFFIXES[:6])
    for number in range(2):
        (tmp_path / "labels" / f"lost{number}.png").touch()
    for number in range(4):
        (tmp_path / "photos" / f"spare{number}.JPG").touch()
    for suffix in ("gif", "jpeg"):
        (tmp_path / "photos/day 0" / f"p0.{suffix}").touch()
    register_custom([row])
    problems = Problems()
    records = dataset_records(row[0], problems=problems)
    assert len(records) == 6
    assert Counter(line.split(":")[-1] for line in problems.errors)[f" {tmp_path}/photos"] == 2
    assert [line.split(": ")[1] for line in problems.errors[:2]] == [
        "p0.gif and p0.jpeg have one name, and one label PNG",
        "p0.gif and p0.jpg have one name, and one label PNG",
    ]
    (line,) = problems.warnings
    assert line == (
        f"{tmp_path}/photos: 4 of 10 photos have no label PNG in {tmp_path}/labels, such as "
        "spare0.JPG: they are not used"
    )
    assert records[0]["file_name"].endswith("p0.gif"), "the first of them"


def test_a_folder_of_other_pictures_says_how_many_of_each(labelled, tmp_path):
    row = labelled(names=())
    (tmp_path / "labels" / "deep").mkdir(parents=True)
    for name in ("a.JPG", "b.jpg", "c.Tif", "deep/d.jpg", "notes.txt"):
        (tmp_path / "labels" / name).touch()
    register_custom([row])
    with pytest.raises(ValueError, match=r"no PNGs in .*labels: wanted PNGs, found 3 \.jpg, 1 "):
        DatasetCatalog.get(row[0])


# rows of a configuration


def test_rows_that_stay_are_not_read_again(labelled, monkeypatch, tmp_path):
    row = labelled()
    register_custom([row])
    load = DatasetCatalog[row[0]]
    (tmp_path / "set.json").rename(tmp_path / "moved.json")
    register_custom([row])
    register_custom([tuple(row)])
    assert DatasetCatalog[row[0]] is load
    with pytest.raises(FileNotFoundError, match=r"set\.json does not exist; a DATASETS\.CUSTOM"):
        register_custom([[*row[:3], str(tmp_path)]])


@pytest.mark.parametrize("key", ["images", "annotations"])
def test_a_json_with_images_or_rows_is_no_list_of_labels(labelled, key):
    row = labelled(**{key: []})
    wanted = "has no list 'annotations'" if key == "images" else 'so panoptic_root must be ""'
    with pytest.raises(ValueError, match=wanted):
        register_custom([row])


def test_categories_of_objects_are_things_whatever_they_say(tmp_path):
    (tmp_path / "a.png").touch()
    images = [{"id": 1, "file_name": "a.png", "height": 9, "width": 8}]
    rows = [{"image_id": 1, "category_id": 4, "segmentation": None}]
    source = tmp_path / "set.json"
    source.write_text(json.dumps({"images": images, "annotations": rows, "categories": CATEGORIES}))
    register_custom([["own_objects", str(source), str(tmp_path), ""]])
    metadata = dataset_metadata("own_objects")
    assert metadata.thing_classes == ["felt", "bolt", "nut"], "by id"
    assert list(metadata.thing_dataset_id_to_contiguous_id) == [4, 17, 300]
    assert DatasetCatalog.get("own_objects")[0]["annotations"][0]["category_id"] == 0


def test_every_fault_of_categories_is_a_line(labelled):
    rows = [
        {"id": 1, "name": "nut"}, {"id": 1, "name": "bolt"}, {"id": "3", "name": "felt"},
        {"id": 4}, {"id": 5, "name": "nut"}, {"id": 6, "name": " nut "}, {"id": 7, "name": "  "},
        {"id": 8, "name": "sky", "isthing": 2}, 9,
    ]  # fmt: skip
    with pytest.raises(DataError) as error:
        register_custom([labelled(rows)])
    said = " ".join(error.value.problems)
    wanted = (
        "categories[2] needs 'id'", "categories[3] needs 'name'", "categories[8] must be an",
        "category 8 needs 'isthing'", "categories have the id 1 twice",
        "the categories 1 and 5 are both", "the categories 1 and 6 are both",
        "category 7 has an empty name",
    )  # fmt: skip
    assert [each for each in wanted if each not in said] == []
    assert len(error.value.problems) == len(wanted)


# records of own loaders


def test_numbers_of_tables_become_plain_ones(loader):
    row = {
        "category_id": np.int64(3), "bbox": np.array([1.5, 2, 3, 4]), "iscrowd": np.bool_(True),
        "segmentation": None,
    }  # fmt: skip
    record = {
        "file_name": Path("a.png"), "height": np.int32(7), "width": np.uint16(9),
        "image_id": np.str_("x"), "annotations": (row, {**row, "bbox": [1, 2, 3, 4]}),
    }  # fmt: skip
    problems = Problems()
    (found,) = own_records(loader([record]), problems)
    first = {"category_id": 3, "bbox": [1.5, 2, 3, 4], "iscrowd": True, "segmentation": None}
    assert problems.errors == []
    assert found == {
        "file_name": "a.png", "height": 7, "width": 9, "image_id": "x",
        "annotations": [first, {**first, "bbox": [1, 2, 3, 4]}],
    }  # fmt: skip
    assert json.loads(json.dumps(found)) == found
    assert [type(found[key]) for key in ("height", "image_id")] == [int, str]


@pytest.mark.parametrize("key", ["height", "width"])
@pytest.mark.parametrize("value", [True, 3.0, "3", None])
def test_sizes_are_whole_numbers(loader, key, value):
    record = {"file_name": "a.png", "height": 3, "width": 4, key: value}
    problems = Problems()
    name = loader([record])
    assert own_records(name, problems) == []
    assert problems.errors == [
        f"{name}: record 0, a.png, needs {key!r}, a whole number, got {value!r}"
    ]


@pytest.mark.parametrize("missing", ["id", "category_id"])
@pytest.mark.parametrize("key", ["segments_info", "annotations"])
def test_rows_need_their_fields(loader, key, missing):
    row = {"id": 4, "category_id": 1}
    del row[missing]
    problems = Problems()
    name = loader([{"file_name": "a.png", key: [{"id": 1, "category_id": 0}, row]}])
    found = own_records(name, problems)
    if key == "annotations" and missing == "id":
        assert len(found) == 1
    else:
        assert problems.errors == [f"{name}: record 0, a.png, {key}[1] needs {missing!r}"]


@pytest.mark.parametrize("label", [True, 1.0, np.float32(3)])
def test_a_label_for_void_is_a_whole_number(loader, label):
    problems = Problems()
    check_metadata(loader([], ignore_label=label), problems)
    assert len(problems.errors) == 1
    check_metadata(loader([], ignore_label=np.uint8(9), thing_classes=None), problems)
    assert len(problems.errors) == 1


def test_the_first_of_several_faults_is_told(loader):
    problems = Problems()
    size = {"file_name": "a.png", "height": None, "width": None}
    rows = [{"file_name": "a.png", "segments_info": [{}]}, {"file_name": "b", "segments_info": [3]}]
    own_records(loader([size, *rows]), problems)
    assert [line.split("needs ")[1].split(",")[0] for line in problems.errors] == [
        "'height'", "'id'", "'id'"
    ]  # fmt: skip


# photos of other names


def finder_of(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    problems = Problems()
    return PhotoFinder(folder, Path("set.json"), problems), problems


def test_names_of_another_place_and_of_other_capitals_are_counted(tmp_path):
    finder, problems = finder_of(tmp_path, "x/a.jpg", "x/b.jpg", "x/c.JPG", "12345678-d.jpg")
    for name in ("/y/a.jpg", "/y/b.jpg", "/y/d.jpg"):
        finder.find(name)
    for name in ("C.jpg", "X/c.jpg"):
        assert finder.find(name) == tmp_path / name
    finder.report()
    assert problems.warnings == [
        "set.json: 3 file names are of another place and were found by their last part, such as "
        "'/y/a.jpg' as 'x/a.jpg'"
    ]
    assert problems.errors == [
        f"set.json: 2 file names differ in capitals from what is in {tmp_path}, such as 'C.jpg' "
        "from 'x/c.JPG'"
    ]


def test_hashes_are_eight_digits_and_lead_to_one_file_only(tmp_path):
    finder, problems = finder_of(
        tmp_path, "1/0123abcd-a.jpg", "2/89abcdef-a.jpg", "0123abc-b.jpg", "0123abcde-b.jpg",
        "0123abcd-c.jpg", "c/c.jpg",
    )  # fmt: skip
    assert finder.find("/x/a.jpg") == tmp_path / "/x/a.jpg"
    (line,) = problems.errors
    assert "'/x/a.jpg' is not in" in line
    assert "2 files there are called '0123abcd-a.jpg'" in line
    assert finder.find("/x/b.jpg") == tmp_path / "/x/b.jpg"
    assert finder.find("/x/0123abcd-b.jpg") == tmp_path / "/x/0123abcd-b.jpg"
    assert finder.find("/x/c.jpg") == tmp_path / "c/c.jpg", "before one with a hash"
    assert finder.find("/x/00000000-c.jpg") == tmp_path / "c/c.jpg"
    for nothing in ("", "/", "x/.."):
        finder.find(nothing)
    assert len(problems.errors) == 1


def test_photos_of_a_benchmark_may_have_their_suffix_in_capitals(tmp_path):
    files = SemanticFiles(tmp_path / "images", tmp_path / "labels", "a hint")
    for folder, names in (
        (files.image_root, ("a.JPG", "b.jpeg", "c.jpg", "c.txt")),
        (files.sem_seg_root, ("a.png", "b.png", "c.png", "d.png")),
    ):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    found = [Path(record["file_name"]).name for record in load_semantic(files)]
    assert found == ["a.JPG", "b.jpeg", "c.jpg", "d.jpg"]

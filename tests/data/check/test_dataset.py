"""All that is wrong with a whole set, also with records of an own loader, is in one list."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from freeseg.data import register_custom
from freeseg.data.check import CheckSettings, check_dataset
from freeseg.data.datasets.json_rows import MissingDataError

NAMES = ["owl", "crow"]
POLYGON = [[1, 1, 6, 1, 6, 5, 1, 5]]


@pytest.fixture
def photos(tmp_path):
    for letter in "abcd":
        Image.fromarray(np.full((10, 12, 3), 90, np.uint8)).save(tmp_path / f"{letter}.png")
    return tmp_path


def record(photos, letter, *labels, **more):
    rows = [{"category_id": label, "segmentation": POLYGON} for label in labels]
    path = str(photos / f"{letter}.png")
    return {"file_name": path, "height": 10, "width": 12, "annotations": rows, **more}


def test_a_good_set_is_summed_up(checked, photos):
    records = [record(photos, "a", 0, 1), record(photos, "b", 1)]
    assert checked(records, thing_classes=NAMES) == ([], [])
    summary = checked.summary
    assert (summary.name, summary.objects, summary.classes) == (checked.name, 3, 2)
    assert summary.photos == {str(photos / "a.png"), str(photos / "b.png")}


def test_faults_of_every_kind_come_together(checked, photos):
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:40])
    Image.fromarray(np.zeros((10, 12), np.uint8)).save(photos / "map.png")
    records = [
        {"height": 10, "width": 12, "annotations": []},
        record(photos, "b", 0),
        record(photos, "absent", 1),
        record(photos, "c", 7, width=13),
        {"file_name": str(photos / "d.png")},
        record(photos, "a", 0, segments_info=[{"id": 3}], pan_seg_file_name="x.png"),
        {
            "file_name": str(photos / "a.png"),
            "pan_seg_file_name": str(photos / "map.png"),
        },
        record(photos, "a", 0, annotations=[{"segmentation": POLYGON}, 5]),
        record(photos, "a", 0, annotations=None),
    ]
    errors, _ = checked(records, thing_classes=NAMES)
    wanted = [
        "record 0 needs 'file_name', the photo",
        "d.png, has no ground truth: a record needs",
        "a.png, segments_info[0] needs 'category_id'",
        "a.png, needs 'segments_info', the segments of its panoptic PNG",
        "a.png, annotations[0] needs 'category_id'",
        "... and 1 more of this kind (records)",
        "b.png is not an image",
        "absent.png does not exist",
        "c.png is 12x10 pixels (width x height), its annotation says 13x10",
        "object 0 of",
    ]
    assert len(errors) == len(wanted)
    for line, part in zip(errors, wanted):
        assert part in line
    assert "has the category_id 7, wanted a class number from 0 to 1" in errors[-1]
    assert all(line.startswith((checked.name, "...")) for line in errors)


def test_an_image_id_that_comes_twice_is_refused(checked, photos):
    """Two photos of one id would be judged as one."""
    records = [record(photos, letter, 0, 1, image_id="x") for letter in "ab"]
    errors, _ = checked(records, thing_classes=NAMES)
    (line,) = errors
    assert "a.png and " in line
    assert line.endswith("b.png both have the image_id 'x'; ids must be unique")


def test_a_set_without_class_names_is_refused(checked, photos):
    errors, _ = checked([record(photos, "a", 0)])
    assert "names no classes: its metadata needs thing_classes or stuff_classes" in errors[0]


def test_a_loader_without_records_is_refused(checked):
    errors, _ = checked([], thing_classes=NAMES)
    assert errors == [f"{checked.name}: has no images"]


QUERIES = {"max_objects": 2, "max_objects_key": "MODEL.X.NUM_OBJECT_QUERIES"}


@pytest.mark.parametrize(
    ("settings", "is_warned"),
    [
        ({**QUERIES}, True),
        ({**QUERIES, "max_objects": 3}, False),
        ({**QUERIES, "max_objects": 0}, False),
        ({**QUERIES, "is_train": False, "is_test": True}, False),
    ],
    ids=["too few", "enough", "any number", "not trained on"],
)
def test_more_objects_than_queries_are_a_warning(checked, photos, settings, is_warned):
    records = [record(photos, "a", 0, 1), record(photos, "b", 1, 0, 1)]
    errors, warnings = checked(records, CheckSettings(**settings), thing_classes=NAMES)
    assert not errors
    assert bool(warnings) == is_warned
    if is_warned:
        assert "b.png has 3 objects, the model 2 queries: some are never learned" in warnings[0]
        assert warnings[0].endswith("raise MODEL.X.NUM_OBJECT_QUERIES")


def test_twins_are_a_warning_in_training_an_error_in_a_test_or_merged(checked, photos):
    records = [record(photos, "a", 0, image_id=1), record(photos, "a", 1, image_id=2)]
    errors, warnings = checked(records, thing_classes=NAMES)
    assert ("a.png (2 times)" in warnings[0], errors) == (True, [])
    errors, _ = checked(records, CheckSettings(is_test=True), thing_classes=NAMES)
    assert "a.png (2 times)" in errors[0]
    settings = CheckSettings(is_test=True, merge_twins=True)
    assert checked(records, settings, thing_classes=NAMES) == ([], [])
    maps = [{"file_name": "a.png", "sem_seg_file_name": f"{n}.png"} for n in range(2)]
    errors, _ = checked(maps, settings, thing_classes=NAMES)
    assert errors[0].startswith("a.png is listed twice with PNGs: only records of objects can be")


def custom(photos, name, change):
    images = [
        {"id": n, "file_name": f"{letter}.png", "height": 10, "width": 12}
        for n, letter in enumerate("abcd")
    ]
    rows = [{"image_id": n, "category_id": 1 + n % 2, "segmentation": POLYGON} for n in range(4)]
    categories = [{"id": n, "name": each} for n, each in enumerate(NAMES, 1)]
    content = {"images": images, "annotations": rows, "categories": categories}
    change(content)
    path = photos / f"{name}.json"
    path.write_text(json.dumps(content))
    register_custom([[name, str(path), str(photos), ""]])


def test_rows_of_a_json_and_photos_are_in_one_list(photos, problems):
    def change(content):
        content["images"][1]["file_name"] = "gone.png"
        del content["images"][2]["height"]
        content["annotations"][0]["iscrowd"] = "0"
        content["annotations"][1]["category_id"] = 9
        content["annotations"][3]["segmentation"] = [[1, 2, 3]]
        content["annotations"].append(7)

    custom(photos, "check_rows", change)
    check_dataset("check_rows", CheckSettings(), problems)
    wanted = [
        "images[2] needs 'height', a whole number, got nothing",
        "annotations[4] must be an object, got int",
        "annotation None needs 'iscrowd', true, false, 1 or 0, got str '0'",
        "annotation None has image 1 and category 9, one of which the file does not list",
        "annotation None has image 2 and category 1, one of which the file does not list",
        "annotation None, of d.png: a polygon is a list x, y",
        "gone.png does not exist",
    ]
    lines = problems.errors
    assert len([line for line in lines if any(part in line for part in wanted)]) == len(wanted)
    assert all("check_rows" in line for line in lines)


def test_a_first_photo_that_is_missing_does_not_hide_the_others(photos, problems):
    custom(photos, "check_first", lambda content: None)
    (photos / "a.png").unlink()
    (photos / "c.png").write_bytes(b"")
    check_dataset("check_first", CheckSettings(), problems)
    assert [line.split()[1][-5:] for line in problems.errors] == ["a.png", "c.png"]


def test_a_set_of_which_no_photo_is_here_says_what_to_do(photos, problems):
    custom(photos, "check_none", lambda content: None)
    for letter in "abcd":
        (photos / f"{letter}.png").unlink()
    with pytest.raises(MissingDataError, match=r"a\.png does not exist; a DATASETS\.CUSTOM row"):
        check_dataset("check_none", CheckSettings(), problems)


def test_a_file_that_was_cut_off_after_it_was_registered_is_a_line(photos, problems):
    custom(photos, "check_cut", lambda content: None)
    path = photos / "check_cut.json"
    path.write_text(path.read_text()[:80])
    check_dataset("check_cut", CheckSettings(), problems)
    (line,) = [line for line in problems.errors if "no JSON" in line]
    assert line.startswith(f"{path} is no JSON, or was cut off")

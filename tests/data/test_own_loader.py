"""Records of a user's own loader: paths become texts, what is no record is named with its set."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from freeseg.data.datasets.own_loader import check_metadata, own_records
from freeseg.data.problems import Problems

PANOPTIC = {"file_name": "a.png", "pan_seg_file_name": "a_ids.png"}
SEGMENT = {"id": 1, "category_id": 0}


BAD = {
    "a key": ("file_name", "is no record, a dict, but 'file_name'"),
    "no photo": ({"annotations": []}, "needs 'file_name', the photo"),
    "bytes": ({"file_name": b"a.png"}, "needs 'file_name', the photo, a text or a Path, got b'a"),
    "no PNG": (
        {**PANOPTIC, "pan_seg_file_name": None, "segments_info": []},
        "needs 'pan_seg_file_name', the panoptic PNG, a text or a Path, got None",
    ),
    "no label PNG": (
        {"file_name": "a.png", "sem_seg_file_name": 3},
        "needs 'sem_seg_file_name', the semantic PNG, a text or a Path, got 3",
    ),
    "no segments": (PANOPTIC, "a.png, needs 'segments_info', the segments of its panoptic PNG"),
    "segments by id": (
        {**PANOPTIC, "segments_info": {1: SEGMENT}},
        "a.png, segments_info is a list, got {1: {",
    ),
    "a segment without id": (
        {**PANOPTIC, "segments_info": [SEGMENT, {"category_id": 0}]},
        "a.png, segments_info[1] needs 'id'",
    ),
    "no list of objects": (
        {"file_name": "a.png", "annotations": None},
        "a.png, annotations is a list, got None",
    ),
    "an object without class": (
        {"file_name": "a.png", "annotations": [{"bbox": [0, 0, 1, 1]}]},
        "a.png, annotations[0] needs 'category_id'",
    ),
    "a height of text": (
        {"file_name": "a.png", "height": "64"},
        "a.png, needs 'height', a whole number, got '64'",
    ),
}


@pytest.mark.parametrize(("record", "message"), BAD.values(), ids=BAD)
def test_what_is_no_record_is_named_and_left_out(loader, record, message):
    good = {"file_name": "b.png", "annotations": []}
    name, problems = loader(lambda: [good, record]), Problems()
    assert own_records(name, problems) == [good]
    (line,) = problems.errors
    assert line.startswith(f"{name}: record 1")
    assert message in line


def test_paths_become_texts(loader):
    record = {
        "file_name": Path("photos/a.png"),
        "pan_seg_file_name": PurePosixPath("ids/a.png"),
        "sem_seg_file_name": Path("labels/a.png"),
        "segments_info": (),
    }
    assert own_records(loader(lambda: [record]), Problems()) == [
        {
            "file_name": "photos/a.png",
            "pan_seg_file_name": "ids/a.png",
            "sem_seg_file_name": "labels/a.png",
            "segments_info": [],
        }
    ]


def test_a_loader_that_gives_nothing_or_refuses_is_named(loader):
    def refuse():
        raise AssertionError("Attribute 'thing_classes' cannot be set to a different value!")

    for load, message in ((list, "has no images"), (refuse, "its loader fails: Attribute 'thing_")):
        name = loader(load)
        with pytest.raises(ValueError, match=f"^{name}: {message}"):
            own_records(name, Problems())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"thing_classes": ["a", 2]}, "thing_classes are texts, the names of classes, got 2"),
        ({"stuff_classes": [None]}, "stuff_classes are texts, the names of classes, got None"),
        ({"ignore_label": None}, "ignore_label is a whole number, got None"),
        ({"ignore_label": "255"}, "ignore_label is a whole number, got '255'"),
        ({"thing_classes": ("a",), "ignore_label": 0}, None),
        ({}, None),
    ],
)
def test_metadata_of_another_form_is_named(loader, metadata, message):
    name, problems = loader(list, **metadata), Problems()
    check_metadata(name, problems)
    assert problems.errors == ([] if message is None else [f"{name}: {message}"])

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detectron2.data.datasets.builtin_meta import (
    ADE20K_SEM_SEG_CATEGORIES,
    CITYSCAPES_CATEGORIES,
    COCO_CATEGORIES,
)
from freeseg.data import categories
from freeseg.data.categories import from_json, load_categories, metadata, palette

COUNTS = {
    "coco_panoptic": (133, 80),
    "coco_stuff": (171, 80),
    "ade20k": (150, 100),
    "cityscapes": (19, 8),
    "voc2012": (21, 20),
    "camvid": (11, 3),
}


@pytest.mark.parametrize(("table", "counts"), COUNTS.items(), ids=COUNTS)
def test_tables_have_the_published_size_and_no_duplicates(table, counts):
    rows = load_categories(table)
    assert (len(rows), sum(row.is_thing for row in rows)) == counts
    assert len({row.id for row in rows}) == len(rows)
    assert len({row.name for row in rows}) == len(rows)
    assert len({row.color for row in rows}) >= len(rows) - 1, "ADE20K lists one colour twice"


def test_tables_agree_with_detectron2():
    assert [(row.id, row.name, row.is_thing) for row in load_categories("coco_panoptic")] == [
        (row["id"], row["name"], bool(row["isthing"])) for row in COCO_CATEGORIES
    ]
    assert [row.name for row in load_categories("ade20k")] == list(ADE20K_SEM_SEG_CATEGORIES)
    assert [(row.id, row.name) for row in load_categories("cityscapes")] == [
        (row["id"], row["name"]) for row in CITYSCAPES_CATEGORIES
    ]


def test_stuff_table_shares_its_things_with_the_panoptic_table():
    things = {(row.id, row.name) for row in load_categories("coco_panoptic") if row.is_thing}
    assert things == {(row.id, row.name) for row in load_categories("coco_stuff") if row.is_thing}


def test_an_unknown_table_names_the_known_ones():
    with pytest.raises(ValueError, match="no category table 'coco'; known tables are ade20k"):
        load_categories("coco")


def test_metadata_has_one_id_space_for_things_and_stuff():
    values = metadata(load_categories("ade20k"))
    things = values["thing_dataset_id_to_contiguous_id"]
    assert things.items() <= values["stuff_dataset_id_to_contiguous_id"].items()
    assert [values["stuff_classes"][index] for index in things.values()] == [
        row.name for row in load_categories("ade20k") if row.is_thing
    ]
    assert values["thing_classes"] == values["stuff_classes"], "numbers are those of both"
    assert things[7] == 7, "ADE20K keeps its interleaved ids"


def test_categories_of_a_json_come_things_first_then_by_id():
    rows = [
        {"id": 9, "name": "sky", "isthing": 0},
        {"id": 5, "name": "dog", "isthing": 1, "color": [1, 2, 3]},
        {"id": 2, "name": "cat", "isthing": 1},
    ]
    result = from_json(rows)
    assert [row.name for row in result] == ["cat", "dog", "sky"]
    assert result[1].color == (1, 2, 3)


def test_generated_colours_differ():
    assert len(set(palette(250))) == 250


def test_generated_colours_are_those_of_pascal_vocs_development_kit():
    """Its function `VOClabelcolormap`, without the black of the background."""
    expected = []
    for number in range(1, 256):
        red = green = blue = 0
        rest = number
        for shift in range(8):
            red |= (rest & 1) << (7 - shift)
            green |= (rest >> 1 & 1) << (7 - shift)
            blue |= (rest >> 2 & 1) << (7 - shift)
            rest >>= 3
        expected.append((red, green, blue))
    assert palette(255) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, 2, 3], (1, 2, 3)),
        ((4, 5, 6), (4, 5, 6)),
        ([7.0, 8, 9], (7, 8, 9)),
        ([1, 2], (0, 128, 0)),
        ([1, 2, 3, 4], (0, 128, 0)),
        ("red", (0, 128, 0)),
        (None, (0, 128, 0)),
    ],
)
def test_a_colour_is_three_numbers_or_that_of_its_place(given, expected):
    """The row has the greater id, so its place is the second."""
    rows = [{"id": "7", "name": 5, "color": given}, {"id": 2, "name": "a"}]
    first, second = from_json(rows)
    assert (first.color, second.color) == ((128, 0, 0), expected)
    assert (second.id, second.name, second.is_thing) == (7, "5", True)


def test_the_metadata_of_a_table_are_its_columns():
    rows = from_json(
        [
            {"id": 90, "name": "sky", "isthing": 0, "color": [1, 2, 3]},
            {"id": 7, "name": "dog", "color": [4, 5, 6]},
            {"id": 30, "name": "cat", "isthing": 1, "color": [7, 8, 9]},
        ]
    )
    assert metadata(rows) == {
        "thing_classes": ["dog", "cat", "sky"],
        "thing_colors": [[4, 5, 6], [7, 8, 9], [1, 2, 3]],
        "thing_dataset_id_to_contiguous_id": {7: 0, 30: 1},
        "stuff_classes": ["dog", "cat", "sky"],
        "stuff_colors": [[4, 5, 6], [7, 8, 9], [1, 2, 3]],
        "stuff_dataset_id_to_contiguous_id": {7: 0, 30: 1, 90: 2},
    }
    assert [row.to_json() for row in rows] == [
        {"id": number, "name": name, "isthing": kind, "color": color, "supercategory": ""}
        for number, name, kind, color in [
            (7, "dog", 1, [4, 5, 6]), (30, "cat", 1, [7, 8, 9]), (90, "sky", 0, [1, 2, 3])
        ]
    ]  # fmt: skip
    assert {type(row.to_json()["isthing"]) for row in rows} == {int}


@pytest.mark.parametrize("table", ["mapillary_vistas", *COUNTS])
def test_tables_have_their_own_colours_or_generated_ones(table):
    path = Path(categories.__file__).with_name(f"{table}.json")
    rows = json.loads(path.read_text())["categories"]
    colors = palette(len(rows))
    found = load_categories.__wrapped__(table)  # read anew
    assert found == load_categories(table)
    assert [row.color for row in found] == [
        tuple(row[3]) if len(row) == 4 else color for row, color in zip(rows, colors)
    ]
    assert [(row.id, row.name, row.is_thing) for row in found] == [
        (row[0], row[1], row[2] == 1) for row in rows
    ]

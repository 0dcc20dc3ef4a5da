from __future__ import annotations

import pytest

from detectron2.data.datasets.builtin_meta import (
    ADE20K_SEM_SEG_CATEGORIES,
    CITYSCAPES_CATEGORIES,
    COCO_CATEGORIES,
)
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

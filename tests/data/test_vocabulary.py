from __future__ import annotations

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data import read_vocabulary
from freeseg.data.categories import load_categories
from freeseg.data.datasets.catalog import register
from freeseg.structures import Vocabulary


@pytest.mark.parametrize(
    ("text", "is_thing"),
    {
        "Sky": False,  # Cityscapes, COCO and others
        "pavement": False,  # a synonym in ADE20K's names
        "grass": False,
        "lawn|grass": False,
        "grass: thing": True,
        "dog": True,
        "window": True,  # stuff in COCO, a thing in ADE20K
        "unicorn": True,
        "unicorn: stuff": False,
    }.items(),
)
def test_kinds_that_nobody_said_come_from_the_known_datasets(text, is_thing):
    assert read_vocabulary([text]).is_thing == (is_thing,)


def test_the_name_of_a_dataset_stands_for_its_classes():
    register("named_set", list, {"stuff_classes": ["road, route", "car"], "trainable_flag": [1, 0]})
    try:
        vocabulary = read_vocabulary("named_set")
    finally:
        DatasetCatalog.remove("named_set")
        MetadataCatalog.remove("named_set")
    assert vocabulary.names == ("road, route", "car")
    assert vocabulary.texts == ("road", "route", "car")
    assert vocabulary.is_seen == (True, False)


@pytest.mark.parametrize("kind", ["string", "list", "lines", "json"])
def test_a_written_other_is_what_is_none_of_the_others(kind, tmp_path):
    (tmp_path / "lines.txt").write_text("car\nOther\nsky\n")
    (tmp_path / "json.json").write_text('["car", {"name": "other"}, "sky"]')
    sources = {
        "string": "car, other, sky",
        "list": ["car", "other", "sky"],
        "lines": tmp_path / "lines.txt",
        "json": str(tmp_path / "json.json"),
    }
    added = Vocabulary.from_classes("car, sky: stuff").with_other()
    assert read_vocabulary(sources[kind]) == added.select([0, 2, 1])


def test_other_keeps_what_was_written_about_it():
    assert read_vocabulary("car, other|rest").synonyms[1] == ("other", "rest")
    assert read_vocabulary("other, background").synonyms == (("other",), ("background",))
    assert read_vocabulary("other").other == 0
    assert read_vocabulary("car: seen, other").is_seen == (True, False)
    assert read_vocabulary("car, other: thing").other is None
    assert read_vocabulary("car, vase|other").other is None


def test_a_vocabulary_stands_for_itself():
    vocabulary = Vocabulary(("sky",), (True,))
    assert read_vocabulary(vocabulary) is vocabulary


@pytest.mark.parametrize(("text", "count"), [("zebra", 1), ("zebra|horse", 1), ("zebra, sky", 0)])
def test_a_class_alone_is_warned_of_once(text, count, caplog):
    read_vocabulary(text)
    assert [line.getMessage() for line in caplog.records] == count * [
        "all that is found will be 'zebra': add classes of what else may be there"
    ]


def test_a_set_without_class_names_is_refused(loader):
    name = loader(list)
    with pytest.raises(ValueError, match=f"dataset {name} has no class names in its metadata"):
        read_vocabulary(name)
    named = loader(list, thing_classes=["pea", "rice"])
    vocabulary = read_vocabulary(named)
    assert (vocabulary.names, vocabulary.is_thing) == (("pea", "rice"), (True, True))


TABLES = ("coco_panoptic", "coco_stuff", "ade20k", "cityscapes", "camvid", "voc2012")


@pytest.mark.parametrize("table", TABLES)
def test_every_name_of_a_table_is_what_all_tables_count_it_as(table):
    """Written out: stuff where a table says so and none says thing, by any of a name's forms."""
    kinds = {}
    for each in TABLES:
        for row in load_categories(each):
            forms = Vocabulary((row.name,), (True,)).with_plain_texts().synonyms[0]
            for text in {row.name.casefold(), *(form.casefold() for form in forms)}:
                kinds.setdefault(text, set()).add(row.is_thing)
    names = [row.name for row in load_categories(table) if "," not in row.name]
    found = read_vocabulary(names).is_thing
    assert found == tuple(kinds[name.casefold()] != {False} for name in names)


@pytest.mark.parametrize("place", range(4))
def test_other_stays_where_it_was_written(place):
    names = ["car", "sky", "dog"]
    names.insert(place, "other")
    vocabulary = read_vocabulary(names)
    assert vocabulary.names == tuple(names)
    assert vocabulary.other == place
    assert vocabulary.is_thing == tuple(name in ("car", "dog") for name in names)
    assert len(vocabulary.synonyms[place]) > 1, "with its usual texts"


def test_what_was_flagged_keeps_its_flag():
    vocabulary = read_vocabulary("sky: thing, car: stuff, sea, ship")
    assert vocabulary.is_thing == (True, False, False, True)

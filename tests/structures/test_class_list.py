from __future__ import annotations

import json
import re

import pytest

from freeseg.structures import ClassEntry, read_class_entries
from freeseg.structures.class_list import clean_name, parse_class


@pytest.mark.parametrize(
    ("text", "entry"),
    {
        "car": ClassEntry(("car",)),
        "  traffic   light ": ClassEntry(("traffic light",)),
        "car|automobile| motor car": ClassEntry(("car", "automobile", "motor car")),
        "car|Car|auto": ClassEntry(("car", "auto")),
        "sky: stuff": ClassEntry(("sky",), is_thing=False),
        "sky:STUFF, unseen": ClassEntry(("sky",), is_thing=False, is_seen=False),
        "car|auto : seen thing": ClassEntry(("car", "auto"), is_thing=True, is_seen=True),
        "a: b": ClassEntry(("a: b",)),
        "ratio 1:2": ClassEntry(("ratio 1:2",)),
        "thing": ClassEntry(("thing",)),
        "🚗|\ufefffire\u200btruck": ClassEntry(("🚗", "firetruck")),
    }.items(),
)
def test_how_classes_are_written(text, entry):
    assert parse_class(text) == entry


def test_joined_emoji_stay_and_invisible_names_are_empty():
    family = "👨\u200d👩\u200d👧"
    assert clean_name(family) == family
    assert clean_name(" \u200d\u200b\t") == ""
    assert clean_name("cafe\u0301") == "café"


def test_a_string_a_list_and_files_say_the_same(tmp_path):
    expected = [ClassEntry(("car", "automobile")), ClassEntry(("sky",), False)]
    lines = tmp_path / "classes.txt"
    lines.write_text("\ufeff# my classes\ncar|automobile  # vehicles\n\n sky: stuff\r\n", "utf-8")
    table = tmp_path / "classes.json"
    rows = [{"name": "car", "synonyms": ["automobile"]}, {"name": "sky", "isthing": 0}]
    table.write_text(json.dumps(rows))
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(["car|automobile", "sky: stuff"]))
    assert read_class_entries("car|automobile, sky: stuff") == expected
    assert read_class_entries(["car|automobile", "sky: stuff"]) == expected
    assert read_class_entries(expected) == expected
    for path in (lines, str(lines), table, str(table), plain):
        assert read_class_entries(path) == expected


def test_a_comma_in_a_list_belongs_to_the_name():
    assert read_class_entries(["road, route"])[0].name == "road, route"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "the class list is empty"),
        ("car,,sky", "class 2 of 3 .* has an empty name"),
        (["car", "sky|"], "class 2 of 2 .'sky\\|'. has an empty name"),
        (["car", "bus", "CAR"], "'CAR' stands for class 1 .'car'. and for class 3"),
        (["car|auto", "truck|Auto"], "'Auto' stands for class 1 .'car'. and for class 2 .'truck'."),
        (["sky: thing stuff"], "'sky: thing stuff' has two opposite flags"),
    ],
)
def test_what_has_no_meaning_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        read_class_entries(source)


def test_errors_name_the_file_and_the_entry(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing.txt"):
        read_class_entries("missing.txt")
    broken = tmp_path / "broken.json"
    broken.write_text('{"name": "car"}')
    with pytest.raises(ValueError, match=r"broken.json: it is no list"):
        read_class_entries(broken)
    broken.write_text('[{"title": "car"}]')
    with pytest.raises(ValueError, match=r'broken.json: a class needs "name"'):
        read_class_entries(broken)
    with pytest.raises(TypeError, match=r"a class is a string .* got 7"):
        read_class_entries(["car", 7])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "car", "synonyms": "automobile"}, '"synonyms", a list of strings'),
        ({"name": "car", "synonyms": ["auto", 3]}, '"synonyms", a list of strings'),
        ({"name": "car", "synonyms": None}, '"synonyms", a list of strings'),
        ({"name": "car", "isthing": "false"}, '"isthing" of a class is true or false'),
        ({"name": "car", "isthing": 2}, '"isthing" of a class is true or false'),
        ({"name": "car", "seen": [0]}, '"seen" of a class is true or false'),
    ],
)
def test_fields_of_the_wrong_kind_are_refused(tmp_path, row, message):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(["sky", row]))
    whole = rf"classes\.json: .*{message}.*got {re.escape(repr(row))}"
    with pytest.raises(ValueError, match=whole):
        read_class_entries(path)


def test_flags_are_true_false_one_zero_or_left_out(tmp_path):
    flags = [True, False, 1, 0, None]
    path = tmp_path / "classes.json"
    path.write_text(json.dumps([{"name": f"n{i}", "isthing": f} for i, f in enumerate(flags)]))
    assert [entry.is_thing for entry in read_class_entries(path)] == [
        True,
        False,
        True,
        False,
        None,
    ]


def test_a_thousand_classes_are_read():
    entries = read_class_entries([f"object {number}|item {number}" for number in range(1200)])
    assert len(entries) == 1200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\xff", "codec can't decode"),
        (b"", "the class list is empty"),
        (b"car\nCAR\n", "stands for class 1"),
        (b"car\n |x\n", "has an empty name"),
    ],
)
def test_a_file_that_has_no_meaning_is_named(tmp_path, content, message):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"class list .*classes\.txt: .*{message}"):
        read_class_entries(path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"bucket, blue", car', [("bucket, blue",), ("car",)]),
        ('"a, b"|"c, d", e', [("a, b", "c, d"), ("e",)]),
        ('screen 12", car', [('screen 12"',), ("car",)]),  # inches are no quotes
        ('"car", sky', [("car",), ("sky",)]),
    ],
)
def test_a_name_in_quotes_may_have_commas(text, names):
    assert [entry.texts for entry in read_class_entries(text)] == names


def test_flags_stand_behind_quotes():
    [entry] = read_class_entries('"mud, wet": stuff unseen')
    assert (entry.name, entry.is_thing, entry.is_seen) == ("mud, wet", False, False)

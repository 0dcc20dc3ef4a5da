"""Classes are joined by name, whatever ids and places they have."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freeseg.class_matching import match_classes, with_dataset_ids
from freeseg.classes import shown
from freeseg.data.records import match_or_refuse
from freeseg.structures import Vocabulary


def listed(*names, **more):
    return Vocabulary(names, (True,) * len(names), **more)


KNOWN = listed("hex bolt", "wing-nut", "washer", "spring_pin")
MATCHES = {
    "the same": (("hex bolt", "wing-nut", "washer", "spring_pin"), (0, 1, 2, 3), (), ()),
    "in another order": (("washer", "hex bolt"), (2, 0), (), ("wing-nut", "spring_pin")),
    "capitals": (("WASHER", "Hex Bolt"), (2, 0), (), ("wing-nut", "spring_pin")),
    "dashes and blanks": (("Wing nut", "spring-pin"), (1, 3), (), ("hex bolt", "washer")),
    "several blanks": ((" hex   bolt",), (0,), (), ("wing-nut", "washer", "spring_pin")),
    "words in one name": (("ring, washer",), (2,), (), ("hex bolt", "wing-nut", "spring_pin")),
    "a mark of COCO": (("washer-merged",), (2,), (), ("hex bolt", "wing-nut", "spring_pin")),
    "unknown": (("washer", "gear"), (2, None), ("gear",), ("hex bolt", "wing-nut", "spring_pin")),
    "a part of a name": (("bolt",), (None,), ("bolt",), KNOWN.names),
    "two spellings of one": (
        ("Washer", "WASHER"),
        (None, None),
        ("Washer", "WASHER"),
        KNOWN.names,
    ),
    "the name before its spelling": (
        ("WASHER", "washer"),
        (None, 2),
        ("WASHER",),
        ("hex bolt", "wing-nut", "spring_pin"),
    ),
    "one of two": (("washer, hex bolt",), (None,), ("washer, hex bolt",), KNOWN.names),
}


@pytest.mark.parametrize(("names", "labels", "unknown", "absent"), MATCHES.values(), ids=MATCHES)
def test_names_say_which_class_is_which(names, labels, unknown, absent):
    match = match_classes(listed(*names), KNOWN)
    assert (match.labels, match.unknown, match.absent) == (labels, unknown, absent)
    assert match.is_identity == (labels == (0, 1, 2, 3))


def test_the_unicode_form_of_letters_says_nothing():
    names = ("cr\u00e8me br\u00fbl\u00e9e", "p\u00eache")
    split = tuple(unicodedata.normalize("NFD", name) for name in reversed(names))
    assert not set(names) & set(split)
    assert match_classes(listed(*split), listed(*names)).labels == (1, 0)
    assert match_classes(listed(*names), listed(*split)).labels == (1, 0)


def test_synonyms_of_either_list_join():
    known = listed("car", "bike", synonyms=(("car", "automobile"), ("bike",)))
    other = listed("Automobile", "velo", synonyms=(("Automobile",), ("velo", "bike")))
    assert match_classes(other, known).labels == (0, 1)
    assert match_classes(known, other).labels == (0, 1)


def test_a_synonym_of_two_classes_joins_none():
    known = listed("car", "truck", synonyms=(("car", "vehicle"), ("truck", "vehicle")))
    assert match_classes(listed("vehicle"), known).labels == (None,)


NAMES = st.lists(
    st.text(st.sampled_from("abcXY_- ,"), min_size=1, max_size=6).filter(str.strip),
    min_size=1,
    max_size=8,
    unique=True,
)


@settings(max_examples=150, deadline=None)
@given(NAMES, NAMES, st.randoms(use_true_random=False))
def test_places_say_nothing(known, names, random):
    """Permuting either list permutes the match; a list matches itself."""
    first = match_classes(listed(*names), listed(*known))
    found = dict(zip(names, first.labels))
    order, places = list(range(len(names))), list(range(len(known)))
    random.shuffle(order)
    random.shuffle(places)
    again = match_classes(
        listed(*(names[n] for n in order)), listed(*(known[place] for place in places))
    )
    for name, label in zip((names[n] for n in order), again.labels):
        was = found[name]
        assert (None if label is None else places[label]) == was
    assert set(again.unknown) == set(first.unknown)
    assert set(again.absent) == set(first.absent)
    assert match_classes(listed(*names), listed(*names)).is_identity


@settings(max_examples=100, deadline=None)
@given(NAMES, NAMES)
def test_no_two_classes_become_one(known, names):
    match = match_classes(listed(*names), listed(*known))
    labels = [label for label in match.labels if label is not None]
    assert len(set(labels)) == len(labels)
    assert len(labels) + len(match.absent) == len(known)
    for name, label in zip(names, match.labels):
        if name in known:
            assert label == known.index(name)


def test_ids_kinds_and_flags_are_those_of_the_dataset():
    known = Vocabulary(("a", "b", "c"), (True, True, False))
    other = Vocabulary(("c", "a"), (True, False), is_seen=(False, True), dataset_ids=(50, 7))
    joined = with_dataset_ids(known, other, match_classes(other, known))
    assert joined.names == ("a", "b", "c")
    assert joined.dataset_ids == (7, None, 50)
    assert joined.is_thing == (False, True, True)
    assert joined.is_seen == (True, True, False)


def test_refusals_name_the_dataset_the_classes_and_the_remedy():
    with pytest.raises(ValueError, match=r"dataset barn has .* on: gear; it knows hex bolt, wing"):
        match_or_refuse("barn", listed("gear", "washer"), KNOWN, "do this")
    ignoring = {"ignores_unknown": True}
    match = match_or_refuse("barn", listed("gear", "washer"), KNOWN, "do this", **ignoring)
    assert match.labels == (None, 2)
    with pytest.raises(ValueError, match=r"gear; .*do this$"):
        match_or_refuse("barn", listed("gear"), KNOWN, "do this", **ignoring)


def test_long_lists_are_shortened():
    assert shown(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    assert shown(["a"]) == "a"

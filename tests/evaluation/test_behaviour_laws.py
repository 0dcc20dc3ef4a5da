"""What is measured of label lists, against pixels counted one by one."""

from __future__ import annotations

import json
import math
import random

import pytest
import torch

from freeseg.evaluation.behaviour import Probes, measure_behaviour

NAMES = ("car", "sky", "road", "tree", "lamp")  # no photo shows a lamp, nothing is found as one
PROBES = Probes(
    absent=("sofa", "whale"),
    missing=("road", "tree"),
    synonyms={"car": "automobile", "tree": "oak", "lamp": "lantern"},
    wider={"traffic": ("car", "lamp"), "nature": ("sky", "tree")},
)
OTHER = "other"
SIZES = ((13, 17), (8, 11), (1, 7))


def photo(number: int):
    chance = random.Random(f"truth {number}")
    height, width = SIZES[number]
    truth = [[chance.choice([0, 1, 1, 2, 3, 255]) for _ in range(width)] for _ in range(height)]
    return {"number": number}, torch.tensor(truth)


def said(number: int, labels: tuple[str, ...]) -> list[list[str]]:
    """The word of every pixel: chance, the same for the same list."""
    chance = random.Random(f"{number} {labels}")
    words = [word for word in labels if word != "lamp"]
    height, width = SIZES[number]
    return [[chance.choice(words) for _ in range(width)] for _ in range(height)]


def ask(given, vocabulary):
    assert set(vocabulary.is_thing) == {False}
    words = said(given["number"], vocabulary.names)
    places = {name: place for place, name in enumerate(vocabulary.names)}
    return torch.tensor([[places[word] for word in row] for row in words])


def pixels(labels):
    """(word asked for `labels`, word asked for the names, true name) of all pixels."""
    for number in range(len(SIZES)):
        truth = photo(number)[1].tolist()
        for row in zip(said(number, labels), said(number, NAMES), truth):
            for word, plain, label in zip(*row):
                yield word, plain, NAMES[label] if label != 255 else None


def share(pairs) -> float:
    """Percent of true values; of none there is no share."""
    values = list(pairs)
    return 100 * sum(values) / len(values) if values else math.nan


def iou(labels, word, is_true) -> float:
    hits = [
        (found == word, is_true(plain, name))
        for found, plain, name in pixels(labels)
        if name is not None or is_true(plain, name)
    ]
    return share(one and other for one, other in hits if one or other)


def mean(values) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known)


def by_hand() -> dict[str, float]:
    def is_name(wanted):
        return lambda _, name: name == wanted

    expected = {"present": mean([iou(NAMES, name, is_name(name)) for name in NAMES])}
    reworded = tuple(PROBES.synonyms.get(name, name) for name in NAMES)
    ious = {name: iou(reworded, reworded[n], is_name(name)) for n, name in enumerate(NAMES)}
    expected["reworded"] = mean(ious.values())
    expected.update({f"reworded-{name}": ious[name] for name in PROBES.synonyms})
    everything = (*NAMES, *PROBES.absent)
    expected["absent"] = share(
        word in PROBES.absent for word, _, name in pixels(everything) if name
    )
    kept = []
    for gone in PROBES.missing:
        rest = (*(name for name in NAMES if name != gone), OTHER)
        rows = list(pixels(rest))
        expected[f"missing-{gone}"] = share(word == OTHER for word, _, name in rows if name == gone)
        kept += [word != OTHER for word, _, name in rows if name not in (gone, None)]
    expected["kept"] = share(kept)
    for name, synonym in PROBES.synonyms.items():
        labels = tuple(synonym if each == name else each for each in NAMES)
        both = [(word == synonym, plain == name) for word, plain, _ in pixels(labels)]
        expected[f"synonym-{name}"] = share(a and b for a, b in both if a or b)
    for word, members in PROBES.wider.items():
        labels = (*(name for name in NAMES if name not in members), word)
        rows = list(pixels(labels))
        expected[f"wider-{word}"] = share(
            found == word for found, _, name in rows if name in members
        )
    return expected


def test_all_shares_are_those_of_a_count_pixel_by_pixel():
    found = measure_behaviour(ask, [photo(number) for number in range(3)], NAMES, PROBES)
    assert found == pytest.approx(by_hand(), nan_ok=True)
    between = {name for name, value in found.items() if 0 < value < 100}
    assert set(found) - between == {"reworded-lamp", "synonym-lamp"}, "of what is nowhere"


def test_labels_that_nothing_shows_have_no_share():
    void = torch.full((2, 3), 255)
    probes = Probes(missing=("sky",), wider={"traffic": ("car",)})
    found = measure_behaviour(lambda _, each: torch.ones(2, 3), [({}, void)], NAMES, probes)
    assert found.pop("present") == 0
    assert set(found) == {"missing-sky", "kept", "wider-traffic"}
    assert all(math.isnan(value) for value in found.values())


def test_nothing_changes_where_void_is_added_around_the_truths():
    def bordered(given, truth):
        size = truth.shape[0] + 3, truth.shape[1] + 5
        around = torch.full(size, 255)
        around[1:-2, 4:-1] = truth
        return given, around

    def ask_around(given, vocabulary):
        inside = ask(given, vocabulary)
        around = torch.full((inside.shape[0] + 3, inside.shape[1] + 5), len(vocabulary.names) - 1)
        around[1:-2, 4:-1] = inside
        return around

    probes = Probes(PROBES.absent, PROBES.missing, {}, PROBES.wider)  # words need no truth
    photos = [photo(number) for number in range(3)]
    around = [bordered(*each) for each in photos]
    assert measure_behaviour(ask_around, around, NAMES, probes) == pytest.approx(
        measure_behaviour(ask, photos, NAMES, probes), nan_ok=True
    )


def test_a_file_of_probes_may_have_any_of_the_fields(tmp_path):
    content = {
        "absent": ["sofa"],
        "missing": ["road", "sky"],
        "synonyms": {"car": "automobile"},
        "wider": {"nature": ["sky", "tree"]},
    }
    whole = Probes(("sofa",), ("road", "sky"), {"car": "automobile"}, {"nature": ("sky", "tree")})
    path = tmp_path / "probes.json"
    path.write_text(json.dumps(content))
    assert Probes.read(path) == whole
    defaults = vars(Probes())
    for key in content:
        path.write_text(json.dumps({key: content[key]}))
        assert vars(Probes.read(path)) == {**defaults, key: getattr(whole, key)}

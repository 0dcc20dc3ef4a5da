"""The four questions about label lists, asked of a model whose answers are written down."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detectron2.data import MetadataCatalog
from freeseg.evaluation import behaviour
from freeseg.evaluation.behaviour import Probes, measure_behaviour

NAMES = ("car", "sky", "road")
TRUTH = torch.tensor([[0, 0, 1, 1, 2, 2, 2, 255]])
FOLDER = Path(behaviour.__file__).parent
# what the model takes every pixel for, the best liked first
LIKES = (
    ("car", "automobile", "vehicle"),
    ("car", "automobile", "vehicle"),
    ("sky", "sofa"),
    ("sofa", "sky"),
    ("automobile", "road", "ground"),
    ("road", "ground"),
    ("other", "road", "ground"),
    ("sofa", "road"),
)


def ask(_, vocabulary):
    names = list(vocabulary.names)
    return torch.tensor(
        [[next((names.index(name) for name in likes if name in names), 1) for likes in LIKES]]
    )


def test_by_hand():
    probes = Probes(
        absent=("sofa",),
        missing=("road",),
        synonyms={"car": "automobile"},
        wider={"vehicle": ("car",), "ground": ("road",)},
    )
    results = measure_behaviour(ask, [({}, TRUTH)], NAMES, probes)
    # car 2 of 2, sky 2 of 2, road 3 of 3: pixel 6 is road as long as there is no "other"
    assert results["present"] == pytest.approx(100.0)
    assert results["absent"] == pytest.approx(100 * 1 / 7)  # the void pixel is not judged
    assert results["missing-road"] == pytest.approx(100 * 1 / 3)
    assert results["kept"] == pytest.approx(100.0)
    assert results["synonym-car"] == pytest.approx(100 * 2 / 3)  # pixel 4 is "automobile" too
    # "automobile" takes pixel 4 from road: 2 of 3, 2 of 2, 2 of 3
    assert results["reworded-car"] == pytest.approx(100 * 2 / 3)
    assert results["reworded"] == pytest.approx(100 * (2 / 3 + 1 + 2 / 3) / 3)
    assert "reworded-sky" not in results
    assert results["wider-vehicle"] == pytest.approx(100.0)
    assert results["wider-ground"] == pytest.approx(100.0)


def test_photos_are_counted_together():
    other = torch.full_like(TRUTH, 1)
    results = measure_behaviour(ask, [({}, TRUTH), ({}, other)], NAMES, Probes())
    ious = [2 / 4, 4 / 10, 3 / 7]  # car, sky, road over both photos
    assert results == {"present": pytest.approx(100 * sum(ious) / 3)}


@pytest.mark.parametrize("name", ["camvid", "shapes"])
def test_shipped_probes_ask_about_the_datasets_labels(name):
    probes = Probes.read(FOLDER / f"behaviour_{name}.json")
    labels = set(MetadataCatalog.get(f"{name}_val_panoptic").stuff_classes)
    asked = {*probes.missing, *probes.synonyms, *(m for ms in probes.wider.values() for m in ms)}
    assert asked <= labels
    words = {*probes.absent, *probes.synonyms.values(), *probes.wider}
    assert not words & labels
    assert len(probes.missing) >= 2

"""The shipped LSeg on real photos: labels that are there, that are not, and in other words.

What it finds with all labels stands for the truth, so that these are laws of the model with itself.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch

from freeseg import Segmenter
from freeseg.evaluation.behaviour import Probes, measure_behaviour
from freeseg.text.minilm import PACKAGE

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FREESEG_SHARED", ROOT / "../shared"))
WEIGHTS = ROOT / "weights/camvid_lseg_regnetx_002.safetensors"


@pytest.fixture(scope="module")
def results():
    photos = sorted((SHARED / "data/camvid/val").glob("*.*"))[::40][:2]
    if not photos:
        pytest.skip(f"no photos in {SHARED / 'data/camvid/val'}")
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"{PACKAGE} is not installed")
    segmenter = Segmenter.from_config(
        ROOT / "configs/lseg/camvid/small.yaml", WEIGHTS, opts=["MODEL.TEXT_ENCODER.CACHE", "False"]
    )

    def ask(photo, vocabulary):
        semantic = segmenter(photo["path"], task="semantic", text=vocabulary).semantic
        return torch.from_numpy(semantic)

    names = segmenter.vocabulary.names
    found = [({"path": path}, ask({"path": path}, segmenter.vocabulary)) for path in photos]
    probes = Probes(
        absent=("giraffe", "sofa", "strawberry"),
        missing=("sky", "road"),
        synonyms={"tree": "trees"},
    )
    return measure_behaviour(ask, found, names, probes)


@pytest.mark.slow
def test_all_labels_find_what_they_find(results):
    assert results["present"] == pytest.approx(100.0)


@pytest.mark.slow
def test_labels_that_are_not_there_are_left_alone(results):
    assert results["absent"] < 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sky", "road"])
def test_what_has_no_label_is_other(results, name):
    assert results[f"missing-{name}"] > 80.0
    assert results["kept"] > 90.0


@pytest.mark.slow
def test_synonyms_find_the_same(results):
    assert results["synonym-tree"] > 80.0

"""Captions of Shapes: what they say is there, and whom they mean."""

from __future__ import annotations

import numpy as np
import pytest

from freeseg.data.shapes import UNSEEN
from freeseg.data.shapes.captions import MOST, draw_caption

NAMES = ("red circle", "red star", "blue circle", "green square")


@pytest.mark.parametrize("seed", range(30))
def test_a_phrase_means_all_objects_that_it_is_true_of(seed):
    caption, spans = draw_caption(NAMES, np.random.default_rng(seed))
    phrases = [phrase.strip() for phrase in caption.split(".") if phrase.strip()]
    assert 1 <= len(phrases) <= MOST
    assert len(set(phrases)) == len(phrases)
    assert not set(phrases) & set(UNSEEN)
    for name, found in zip(NAMES, spans):
        meant = {caption[first:behind] for first, behind in found}
        assert meant == {phrase for phrase in phrases if set(phrase.split()) <= set(name.split())}


def test_captions_say_what_is_there_and_what_is_not():
    captions = [draw_caption(NAMES, np.random.default_rng(seed)) for seed in range(60)]
    assert any(any(spans) for _, spans in captions)
    said = {phrase.strip() for caption, _ in captions for phrase in caption.split(".")}
    assert {"red", "circle", "red circle"} <= said
    assert {"heart", "pink"} <= said


def test_nothing_is_meant_where_nothing_is():
    caption, spans = draw_caption((), np.random.default_rng(0))
    assert spans == []
    assert "." in caption or caption == ""

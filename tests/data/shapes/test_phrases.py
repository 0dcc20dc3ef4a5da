"""Texts about classes: every word known, every sentence and every length reached."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors import safe_open

import freeseg.text
from freeseg.data.shapes.phrases import FILLERS, SYNONYMS, TEMPLATES, random_phrase, words
from freeseg.data.shapes.scene import _caption
from freeseg.data.shapes.vocabulary import COLORS, SHAPES, STUFF, categories


def test_every_word_of_names_phrases_and_captions_is_listed_once():
    known = words()
    assert len(set(known)) == len(known)
    assert known[:19] == (*COLORS, *SHAPES, *STUFF)
    texts = [_caption([name] * count, ["sky", "sand"]) for name in (row.name for row in
             categories()) if name not in STUFF for count in (1, 2, 6)]  # fmt: skip
    texts += [_caption([], list(STUFF)), *TEMPLATES]
    texts += [random_phrase(np.random.default_rng(seed), "red star") for seed in range(50)]
    said = {word for text in texts for word in re.findall(r"[a-z]+|\d|[,.:]", text)}
    assert said - {"?"} <= set(known)


def test_the_words_are_those_that_the_weights_were_trained_with():
    """In their order, which numbers them."""
    path = Path(freeseg.text.__file__).with_name("toy_clip.safetensors")
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["words"]) == list(words())


def phrases(name, count=2500):
    generator = np.random.default_rng(0)
    return [random_phrase(generator, name) for _ in range(count)]


def test_half_of_the_phrases_are_sentences_and_the_rest_stands_behind_1_to_28_words():
    found = phrases("sky")  # of one other word
    sentences = {
        template.replace("{}", word): template for template in TEMPLATES for word in
        ("sky", *SYNONYMS["sky"])
    }  # fmt: skip
    of_template = Counter(sentences[each] for each in found if each in sentences)
    assert set(of_template) == set(TEMPLATES)
    assert abs(sum(of_template.values()) / len(found) - 0.5) < 0.04
    rest = [each for each in found if each not in sentences]
    before = [each.split()[:-1] for each in rest]
    assert {each.split()[-1] for each in rest} == {"sky.", "clouds."}
    assert set(map(len, before)) == set(range(1, 29))
    said = Counter(word for each in before for word in each)
    assert set(said) == {*FILLERS, "?"}
    assert abs(said["?"] / said.total() - 0.1) < 0.01


def test_a_quarter_of_the_words_are_other_ones():
    found = phrases("purple circle")
    said = Counter(word for each in found for word in re.findall(r"[a-z]+", each))
    assert abs(said["violet"] / (said["violet"] + said["purple"]) - 0.25) < 0.03
    others = [said[each] for each in SYNONYMS["circle"]]
    assert abs(sum(others) / (sum(others) + said["circle"]) - 0.25) < 0.03
    assert min(others) > max(others) / 2 > 0
    assert not any("yellow" not in each for each in phrases("yellow star", 200)), "has no other"

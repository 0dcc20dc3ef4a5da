"""Objects that are asked for by name: what is said, what counts, and the means."""

from __future__ import annotations

import pytest
import torch
from scripted_system import ScriptedSystem, answers

from freeseg.evaluation.pointing import EncodedPhoto, TrueObjects
from freeseg.evaluation.pointing.phrases import ask_by_name, named_once, phrase_scores
from freeseg.ops import mask_boxes
from freeseg.structures import InstanceSet, Prompt, Vocabulary

VOCABULARY = Vocabulary(("left", "right", "all"), (True, False, True), is_seen=(True, True, False))


def half(name: str) -> torch.Tensor:
    """Bool [8, 12]."""
    columns = torch.arange(12).expand(8, -1)
    return {"left": columns < 6, "right": columns >= 6, "all": columns >= 0}[name]


def reply(prompt: Prompt) -> InstanceSet:
    """Knows "left" by its name; anything else is all."""
    names = prompt.phrases or [None] * len(prompt)
    masks = [half("left" if name == "left" else "all") for name in names]
    return answers(masks, mask_logits=torch.zeros(len(masks), 2, 3))


def objects(*names: str) -> TrueObjects:
    masks = torch.stack([half(name) for name in names])
    labels = torch.tensor([VOCABULARY.names.index(name) for name in names])
    return TrueObjects(masks, mask_boxes(masks), labels)


def test_objects_count_whose_class_is_there_once():
    found = named_once(objects("left", "right", "left"))
    assert found.labels.tolist() == [1]
    assert torch.equal(found.masks[0], half("right"))
    assert len(named_once(objects("left", "left"))) == 0


def test_objects_are_asked_for_by_name_by_chance_and_by_clicks():
    system = ScriptedSystem(reply, needs=("phrases", "points"))
    encoded = EncodedPhoto(system, {"image": torch.zeros(3, 8, 12)})
    found = ask_by_name(encoded, objects("left", "right"), VOCABULARY)
    assert {said: overlaps.tolist() for said, overlaps in found.items()} == {
        "its phrase": [1, 0.5],
        "its phrase, then a click": [1, 0.5],
        "another phrase": [0.5, 0.5],
        "a click": [0.5, 0.5],
        "two clicks": [0.5, 0.5],
    }
    phrase, corrected, chance, click, second = system.prompts
    assert phrase.phrases == corrected.phrases == ("left", "right")
    assert chance.phrases == ("all", "all")  # the photo shows no such object
    assert corrected.marks.signs.tolist() == [[-1], [0]]  # nothing is wrong with the first
    assert corrected.logits.shape == (2, 2, 3)
    assert click.phrases is second.phrases is None
    assert click.marks.signs.tolist() == [[1], [1]]
    assert second.marks.signs.tolist() == [[1, 0], [1, 0]]


def test_means_are_of_all_objects_and_of_groups_of_classes():
    rows = [
        (torch.tensor([0, 2]), {"its phrase": torch.tensor([1.0, 0.2]).double()}),
        (torch.tensor([1]), {"its phrase": torch.tensor([0.6]).double()}),
    ]
    found = {group: (n, means["its phrase"]) for group, n, means in phrase_scores(rows, VOCABULARY)}
    assert found == {
        "all": (3, pytest.approx(60)),
        "things": (2, pytest.approx(60)),
        "stuff": (1, pytest.approx(60)),
        "seen things": (1, pytest.approx(100)),
        "unseen things": (1, pytest.approx(20)),
        "seen stuff": (1, pytest.approx(60)),
    }
    unflagged = Vocabulary(VOCABULARY.names, VOCABULARY.is_thing)
    assert [group for group, *_ in phrase_scores(rows, unflagged)] == ["all", "things", "stuff"]

"""SAM in sessions: clicks, refinements, undo, and marks that are malformed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from freeseg import Segmenter
from freeseg.structures import Request

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny_systems import tiny_sam

SIZE = (57, 83)
PHOTO = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter(tiny_sam(3))


@pytest.fixture
def session(segmenter):
    return segmenter.open(PHOTO)


def assert_same(first, second):
    for name in ("masks", "boxes", "qualities", "owners", "choices"):
        np.testing.assert_array_equal(getattr(first.objects, name), getattr(second.objects, name))


def test_a_refinement_is_all_clicks_with_the_logits_by_hand(segmenter, session):
    first = session(points=[[(20, 30)], [(70, 50)]])
    second = session.refine(first, points=[[(60, 11)], []], signs=[[0], []])
    known = second.answer.prompt
    assert known.marks.points[0, :2].tolist() == [[20, 30], [60, 11]]
    assert [row.tolist().count(-1) for row in known.marks.signs] == [0, 1]
    assert torch.equal(known.logits, first.answer.logits)
    chosen = torch.from_numpy(first.objects.choices == 0)
    assert chosen.sum() == 2
    request = Request(0, ("object",), known)
    with torch.inference_mode():
        (by_hand,) = segmenter.photo_model.answer_encoded(session.encode(), request)
    np.testing.assert_array_equal(second.objects.qualities, by_hand.objects.qualities)
    np.testing.assert_array_equal(second.objects.masks, by_hand.objects.masks)
    plain = session(points=[[(20, 30), (60, 11)], [(70, 50)]], signs=[[1, 0], [1]])
    assert (plain.objects.qualities != second.objects.qualities).any()


def test_answers_know_what_they_refine_and_stay_as_they_are(session):
    first = session(points=[(20, 30)])
    before = first.objects.masks.copy(), first.answer.logits.clone()
    second = session.refine(first, points=[(60, 11)], signs=[0])
    third = session.refine(second, points=[(5, 5)])
    assert first.previous is None
    assert second.previous is first
    assert third.previous.previous is first
    np.testing.assert_array_equal(first.objects.masks, before[0])
    assert torch.equal(first.answer.logits, before[1])
    assert len(first.answer.prompt.marks.points[0]) == 1
    assert_same(second, session.refine(first, points=[(60, 11)], signs=[0]))  # a branch
    with pytest.raises(AttributeError):
        first.answer = None


def test_a_second_look_and_another_box(session):
    first = session(boxes=[5, 5, 40, 50])
    again = session.refine(first)
    assert (again.objects.qualities != first.objects.qualities).any()
    moved = session.refine(first, boxes=[9, 9, 60, 50])
    assert moved.answer.prompt.marks.boxes.tolist() == [[9, 9, 60, 50]]


def test_a_rough_mask_is_replaced_by_the_logits_of_its_answer(session):
    rough = np.zeros(SIZE)
    rough[10:40, 20:60] = 1
    first = session(masks=rough)
    again = session.refine(first, points=[(30, 30)])
    assert first.answer.prompt.kinds == {"masks"}
    assert again.answer.prompt.kinds == {"points", "logits"}


def test_answers_alone_are_those_of_choice_zero(session):
    marks = {"points": [[(20, 30)], [(60, 11), (5, 5)]]}
    whole, alone = session(**marks), session(**marks, alternatives=False)
    is_answer = whole.objects.choices == 0
    assert len(whole.objects) == 3 + 4
    assert alone.objects.owners.tolist() == [0, 1]
    np.testing.assert_array_equal(alone.objects.masks, whole.objects.masks[is_answer])
    assert torch.equal(alone.answer.logits, whole.answer.logits)
    refined = session.refine(whole, points=[[(1, 1)], [(2, 2)]], alternatives=False)
    assert refined.objects.choices.tolist() == [0, 0]


@pytest.mark.parametrize("name", ["encode", "answer"])
def test_what_does_not_fit_goes_by_dicts_without_logits(session, segmenter, monkeypatch, name):
    marks = {"points": [[(20, 30)]], "alternatives": False}
    expected = session(**marks)
    original = getattr(segmenter.model, name)
    calls = []

    def full_once(*arguments):
        calls.append(name)
        if len(calls) == 1:
            raise MemoryError
        return original(*arguments)

    monkeypatch.setattr(segmenter.model, name, full_once)
    found = segmenter.open(PHOTO)(**marks)
    assert len(calls) == 2
    assert_same(found, expected)
    assert found.answer.logits is None


def test_a_refinement_without_logits_says_all_clicks_again(session, segmenter, monkeypatch):
    full = segmenter.open(PHOTO)
    monkeypatch.setattr(segmenter.photo_model, "encode", lambda _: None)
    first = full(points=[(20, 30)])
    assert first.answer.logits is None
    second = full.refine(first, points=[(60, 11)], signs=[0])
    assert_same(second, session(points=[(20, 30), (60, 11)], signs=[1, 0]))


BAD = {
    "outside": ({"points": [(84, 3)]}, r"points\[0\]\[0\] is outside the photo of 83 x 57"),
    "negative": ({"boxes": [-1, 3, 9, 9]}, r"boxes\[0\] is outside the photo"),
    "NaN": ({"points": [(float("nan"), 3)]}, r"points\[0\]\[0\] is outside"),
    "empty box": ({"boxes": [5, 5, 5, 9]}, "left, top, right, bottom with an area"),
    "turned box": ({"boxes": [9, 9, 5, 5]}, "left, top, right, bottom with an area"),
    "sign": ({"points": [(5, 5)], "signs": [2]}, r"sign of points\[0\]\[0\] must be 1 or 0"),
    "unlike": ({"points": [[(5, 5)]] * 2, "boxes": [1, 1, 9, 9]}, "points of 2, boxes of 1"),
    "silent": ({"points": [[(5, 5)], []]}, "object 1 has no point, box or mask"),
    "empty mask": ({"masks": np.zeros(SIZE)}, "object 0 has no point, box or mask"),
    "mask size": ({"masks": np.ones((3, 3))}, r"wanted masks of \(57, 83\)"),
    "mask values": ({"masks": np.full(SIZE, 0.5)}, "masks must be bool, or 0 and 1"),
    "strokes": ({"strokes": np.ones(SIZE)}, "does not take strokes for object"),
    "nothing": ({}, "SAM needs boxes or everything or masks or points for object"),
    "words": ({"text": "cat"}, "SAM knows no classes, and takes no class list"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_what_it_cannot_be_asked_is_refused_by_name(session, given, message):
    with pytest.raises(ValueError, match=message):
        session(**given)
    assert session.nbytes == PHOTO.nbytes + session.photo.pixels.nbytes  # nothing was encoded


def test_what_cannot_be_refined_is_refused(segmenter, session):
    first = session(points=[(20, 30)])
    with pytest.raises(ValueError, match="marks of 2 objects cannot refine an answer about 1"):
        session.refine(first, points=[[(1, 1)], [(2, 2)]])
    other = segmenter.open(np.zeros((20, 20, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="the answer is of another photo"):
        other.refine(first)
    with pytest.raises(ValueError, match="signs are of points"):
        session.refine(first, signs=[1])


def test_an_answer_without_marks_cannot_be_refined(session):
    plain = replace(session(points=[(20, 30)]), answer=None)
    with pytest.raises(ValueError, match="only an answer to points, boxes or masks"):
        session.refine(plain)


def test_a_call_that_says_nothing_is_refused_before_a_photo_is_read(segmenter):
    with pytest.raises(
        ValueError, match="SAM needs boxes or everything or masks or points for object"
    ):
        segmenter("no such photo.jpg")

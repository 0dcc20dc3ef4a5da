"""Where a closer look goes, what is said there, and that it equals a look at the crop."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_systems import tiny_click, tiny_grounding_dino, tiny_sam

from freeseg import Segmenter
from freeseg.inference.zoom import zoom, zoom_window
from freeseg.structures import InstanceSet, Marks, Prompt

SIZE = (200, 300)


def mask_of(top=0, bottom=0, left=0, right=0):
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


WINDOWS = {
    # 40 wide and 20 high around (120, 60): a square of 80
    "a mask": ({}, mask_of(50, 70, 100, 140), 0.5, (80, 20, 160, 100)),
    "without a margin": ({}, mask_of(50, 70, 100, 140), 0.0, (100, 40, 140, 80)),
    "of any size": ({}, mask_of(0, 40, 0, 40), 1e308, (0, 0, 300, 200)),
    "at the edge": ({}, mask_of(0, 40, 0, 40), 0.5, (0, 0, 60, 60)),
    "small: of 32 pixels": ({}, mask_of(100, 102, 50, 52), 0.5, (19, 69, 83, 133)),
    "a box beyond the mask": (
        {"boxes": [100, 50, 180, 70]},
        mask_of(50, 70, 100, 140),
        0.0,
        (100, 20, 180, 100),
    ),
    "a click beyond it": (
        {"points": [[(180, 60)]]},
        mask_of(50, 70, 100, 140),
        0.0,
        (100, 20, 180, 100),
    ),
    "not a click off it": (
        {"points": [[(120, 60), (290, 190)]], "signs": [[1, 0]]},
        mask_of(50, 70, 100, 140),
        0.0,
        (100, 40, 140, 80),
    ),
    "a click without a mask": ({"points": [[(150, 100)]]}, mask_of(), 0.5, (118, 68, 182, 132)),
    "nothing": ({"points": [[(5, 5)]], "signs": [[0]]}, mask_of(), 0.5, (0, 0, 300, 200)),
}


@pytest.mark.parametrize(("said", "mask", "margin", "window"), WINDOWS.values(), ids=WINDOWS)
def test_the_square_around_an_object(said, mask, margin, window):
    marks = Marks.read(SIZE, **said) if said else Marks.of_nothing(SIZE, 1)
    assert zoom_window(marks, 0, mask, margin) == window


def test_every_row_is_asked_about_alone_with_what_is_near():
    points, signs = [[(120, 60), (290, 190)], [(20, 20)]], [[1, 0], [1]]
    marks = Marks.read(SIZE, points=points, signs=signs)
    masks = torch.stack([mask_of(50, 70, 100, 140), mask_of()])
    asked = []

    def ask(window, prompt):
        asked.append((window, prompt))
        found = mask_of(window[1], window[3], window[0], window[2])[None]
        score = torch.tensor([0.1 * len(asked)])
        return InstanceSet(found, torch.zeros(1, 4), None, score, qualities=score)

    prompt = Prompt(marks=marks, phrases=("red", None), logits=torch.zeros(2, 4, 4))
    answer = zoom(prompt, masks, ask, margin=0.5)
    (first, one), (second, other) = asked
    assert (first, second) == ((80, 20, 160, 100), (0, 0, 52, 52))
    assert (one.phrases, other.phrases) == (("red",), (None,))
    assert one.logits is None
    assert one.marks.signs.tolist() == [[1, -1]]
    assert one.marks.points[0, 0].tolist() == [120, 60]
    assert torch.equal(one.marks.masks[0], masks[0])
    assert other.marks.masks is None
    assert answer.owners.tolist() == [0, 1]
    assert answer.choices.tolist() == [0, 0]
    assert answer.scores.tolist() == pytest.approx([0.1, 0.2])
    assert answer.boxes.tolist() == [[80, 20, 160, 100], [0, 0, 52, 52]]


@pytest.fixture
def photo():
    return np.random.default_rng(3).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("make", [tiny_sam, tiny_click])
def test_a_closer_look_is_a_look_at_the_crop(make, photo):
    segmenter = Segmenter(make(1))
    boxes = np.array([[40, 30, 120, 90], [200, 100, 220, 190]])
    with segmenter.open(photo) as session:
        answer = session(boxes=boxes, alternatives=False)
        closer = session.zoom(answer)
        again = session.refine(closer, boxes=boxes, alternatives=False)
        expected = session.refine(answer, boxes=boxes, alternatives=False)
    assert closer.answer.previous is answer
    np.testing.assert_array_equal(again.masks, expected.masks)  # from the whole photo
    assert len(closer.masks) == 2
    for row, box in enumerate(boxes):
        marks = Marks.read(SIZE, boxes=box)
        old = torch.from_numpy(answer.masks[row])
        left, top, right, bottom = zoom_window(marks, 0, old, 0.5)
        crop = photo[top:bottom, left:right]
        rough = old[top:bottom, left:right].numpy()
        said = {"masks": rough} if rough.any() else {}
        with segmenter.open(crop) as session:
            alone = session(boxes=box - [left, top, left, top], alternatives=False, **said)
        mask = np.zeros(SIZE, bool)
        mask[top:bottom, left:right] = alone.masks[0]
        np.testing.assert_array_equal(closer.masks[row], mask)
        assert closer.scores[row] == pytest.approx(alone.scores[0], abs=1e-6)
        assert closer.objects.qualities[row] == pytest.approx(alone.objects.qualities[0], abs=1e-5)


@pytest.mark.parametrize("build", [tiny_sam, tiny_click])
def test_of_nothing_there_is_no_closer_look(photo, build):
    with Segmenter(build()).open(photo) as session:
        answer = session(points=[])
        assert len(answer.objects) == 0
        assert len(session.zoom(answer).objects) == 0


def test_what_cannot_be_looked_at_closer_is_refused(photo):
    segmenter = Segmenter(tiny_sam())
    with segmenter.open(photo) as session:
        answer = session(points=[(50, 60)])
        with pytest.raises(ValueError, match="margin must be from 0 on, got -1"):
            session.zoom(answer, margin=-1)
        for margin in ("nan", "inf"):
            with pytest.raises(ValueError, match=f"margin must be from 0 on, got {margin}"):
                session.zoom(answer, margin=float(margin))
    with segmenter.open(photo[:100]) as other, pytest.raises(ValueError, match="another photo"):
        other.zoom(answer)
    with Segmenter(tiny_grounding_dino()).open(photo) as session:
        boxes = session(phrases="a cup")
        with pytest.raises(ValueError, match="has none"):
            session.zoom(boxes)


def test_the_best_reading_is_the_one_that_is_looked_at(photo):
    segmenter = Segmenter(tiny_sam(1))
    with segmenter.open(photo) as session:
        several = session.zoom(session(points=[(50, 60)]))
        one = session.zoom(session(points=[(50, 60)], alternatives=False))
    assert len(several.masks) == 1
    np.testing.assert_array_equal(several.masks, one.masks)

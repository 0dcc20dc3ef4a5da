"""Clicks and boxes over the answer to them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from freeseg import Segmenter
from freeseg.structures import Marks
from freeseg.visualization.drawn_marks import BOX_COLOR, COLORS, draw_marks

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_systems import tiny_sam

BLACK = np.zeros((80, 120, 3), dtype=np.uint8)


def test_clicks_lie_where_they_were_made_in_the_colour_of_their_sign():
    marks = Marks.read((80, 120), points=[[(30.5, 20.5), (90.5, 60.5)]], signs=[[1, 0]])
    drawn = draw_marks(BLACK, marks)
    assert tuple(drawn[20, 30]) == COLORS[1]
    assert tuple(drawn[60, 90]) == COLORS[0]
    assert not drawn[20, 90].any()
    assert not BLACK.any()  # a copy
    large = draw_marks(np.zeros((160, 240, 3), dtype=np.uint8), marks, factor=2)
    assert tuple(large[41, 61]) == COLORS[1]


def test_boxes_end_on_their_last_pixels():
    drawn = draw_marks(BLACK, Marks.read((80, 120), boxes=[10, 20, 50, 60]))
    rows, columns = np.nonzero(drawn.any(2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 10, 49)
    assert tuple(drawn[20, 30]) == BOX_COLOR
    assert not drawn[30, 30].any()


def test_absent_points_are_not_drawn():
    marks = Marks.read((80, 120), points=[[(30, 20), (60, 40)], [(90, 60)]])
    assert not draw_marks(BLACK, marks)[:5, :5].any()  # where fillers lie


def test_pictures_of_answers_show_what_was_said():
    photo = np.full((60, 90, 3), 99, dtype=np.uint8)
    session = Segmenter(tiny_sam()).open(photo)
    answer = session(points=[(40, 30)])
    assert tuple(answer.picture()[30, 40]) == COLORS[1]
    assert tuple(answer.overlay()[30 * 4 + 2, 40 * 4 + 2]) == COLORS[1]
    assert session.everything(points_per_side=2).marks is None

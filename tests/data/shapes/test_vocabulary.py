"""Shapes' classes: what their colours are called, and their numbers."""

from __future__ import annotations

import colorsys
import hashlib
import json

import pytest

from freeseg.data.shapes import scene
from freeseg.data.shapes.generate import JPEG_QUALITY, VERSION
from freeseg.data.shapes.vocabulary import COLORS, SHAPES, STUFF, UNSEEN, categories

HUES = {  # degrees of the colour circle that a name stands for
    "red": 0, "orange": 30, "yellow": 53, "green": 140, "blue": 230, "purple": 280, "pink": 330,
}  # fmt: skip


@pytest.mark.parametrize("name", HUES)
def test_colours_have_the_hue_of_their_name(name):
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in COLORS[name]))
    apart = abs(360 * hue - HUES[name])
    assert min(apart, 360 - apart) < 6
    assert saturation > 0.5
    assert value > 0.6


def test_classes_are_numbered_by_colour_and_then_by_shape():
    table = categories()
    for row in table[:48]:
        color, shape = row.name.split()
        place, number = list(COLORS).index(color), SHAPES.index(shape)
        assert row.id == 6 * place + number + 1
        shade = 1 - 0.07 * number
        assert row.color == tuple(round(shade * channel) for channel in COLORS[color])
        assert row.is_thing
    assert [(row.id, row.name, row.is_thing, row.color) for row in table[48:]] == [
        (49 + number, name, False, color) for number, (name, color) in enumerate(STUFF.items())
    ]


# what the pictures of a version are made of; whoever changes it raises VERSION and adds a line
INGREDIENTS = {1: "b824ccd3f9ff1f7f"}


def test_a_version_keeps_its_ingredients():
    """Splits on the disk, weights and published figures are of a version's pictures."""
    made_of = [COLORS, STUFF, SHAPES, UNSEEN, scene.RADIUS, scene.MAX_OBJECTS, scene.MIN_VISIBLE]
    text = json.dumps([made_of, scene.MAX_TRIES, scene.SUBPIXEL_BITS, JPEG_QUALITY])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == INGREDIENTS[VERSION]

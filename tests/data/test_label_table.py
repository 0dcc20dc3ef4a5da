"""Values and colours of label PNGs become classes, or are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from freeseg.data.label_table import (
    LabelTable,
    label_text,
    one_channel,
    packed_color,
    swap_hint,
)
from freeseg.data.panoptic import rgb2id

IDS = LabelTable({7: 0, 300: 1, 0: 2, 255: None})
RED, BLUE, GREY = (200, 0, 10), (10, 0, 200), (80, 80, 80)
COLORS = LabelTable(
    {1: 0, 2: 1, 80: 2, 255: None},
    {packed_color(RED): 0, packed_color(BLUE): 1, packed_color(GREY): 2, 0: None},
)
MAPS = {
    "bytes": np.array([[7, 0], [255, 7]], np.uint8),
    "16 bits": np.array([[7, 300], [255, 0]], np.uint16),
    "grey as RGB": np.stack([np.array([[7, 0, 255]], np.uint8)] * 3, -1),
    "grey and alpha": np.stack([np.array([[7, 0]], np.uint8), np.array([[1, 9]], np.uint8)], -1),
    "grey as RGBA": np.stack([np.array([[7, 0]], np.uint8)] * 3 + [np.full((1, 2), 200)], -1),
}


@pytest.mark.parametrize("pixels", MAPS.values(), ids=MAPS)
def test_ids_become_classes(pixels):
    expected = {7: 0, 300: 1, 0: 2, 255: 99}
    values = pixels if pixels.ndim == 2 else pixels[..., 0]
    wanted = [[expected[value] for value in row] for row in values.tolist()]
    assert IDS.classes(pixels, void=99).tolist() == wanted


def test_one_bit_masks_are_ids():
    mask = np.array([[True, False]])
    assert LabelTable({0: 4, 1: 9}).classes(mask, 255).tolist() == [[9, 4]]


def test_colours_become_classes_with_and_without_alpha():
    pixels = np.array([[RED, BLUE, GREY, (0, 0, 0)]], np.uint8)
    assert COLORS.classes(pixels, 255).tolist() == [[0, 1, 2, 255]]
    alpha = np.concatenate([pixels, np.full((1, 4, 1), 128, np.uint8)], -1)
    assert COLORS.classes(alpha, 255).tolist() == [[0, 1, 2, 255]]


def test_ids_and_colours_of_one_set_do_not_mix_up():
    """A grey picture in three channels is one of colours where the colours are all known."""
    assert COLORS.classes(np.array([[1, 2, 80, 255]], np.uint8), 9).tolist() == [[0, 1, 2, 9]]
    grey = np.full((1, 2, 3), 80, np.uint8)
    assert COLORS.classes(grey, 9).tolist() == [[2, 2]]
    ids = np.stack([np.array([[1, 2]], np.uint8)] * 3, -1)
    assert COLORS.classes(ids, 9).tolist() == [[0, 1]]


UNKNOWN = {
    "an id": (IDS, np.array([[7, 8]], np.uint8), "the label 8, which is none of 0, 7, 300"),
    "a large id": (IDS, np.array([[7, 600]], np.uint16), "the label 600, which"),
    "blue first": (
        COLORS,
        np.array([[(9, 1, 7), RED]], np.uint8),
        r"the colour \[9, 1, 7\], which is none of \[\d+, \d+, \d+\], \[[\d, ]+\], \[[\d, ]+\]$",
    ),
    "red and blue swapped": (
        LabelTable({1: 0}, {packed_color((200, 20, 0)): 0}),
        np.array([[(0, 20, 200)]], np.uint8),
        r"which is none of \[200, 20, 0\]: red and blue are swapped \(OpenCV writes BGR\)$",
    ),
    "colours without a table": (IDS, np.array([[RED]], np.uint8), "has colours, wanted one number"),
}


@pytest.mark.parametrize(("table", "pixels", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_means_nothing_is_named(table, pixels, message):
    with pytest.raises(ValueError, match=message):
        table.classes(pixels, 255)


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)),
    st.permutations(range(256)),
)
def test_every_pixel_is_looked_up_for_itself(pixels, order):
    table = LabelTable(dict(enumerate(order)))
    assert (table.classes(pixels, 0) == np.array(order)[pixels]).all()
    again = table.renumbered(np.argsort(order).tolist())
    assert (again.classes(pixels, 0) == pixels).all()


def test_a_class_that_another_list_does_not_have_is_void():
    moved = COLORS.renumbered([5, None, 0])
    assert moved.classes(np.array([[1, 2, 80]], np.uint8), 77).tolist() == [[5, 77, 0]]
    assert moved.classes(np.array([[RED, BLUE, GREY]], np.uint8), 77).tolist() == [[5, 77, 0]]


def test_messages_have_a_void_value_and_texts():
    assert (IDS.void_value, LabelTable({3: None, 1: 0}).void_value) == (255, 3)
    assert LabelTable({1: 0}).void_value == 255
    assert label_text(12, is_color=False) == "label 12"
    assert label_text(packed_color((1, 2, 3)), is_color=True) == "colour [1, 2, 3]"


def test_pictures_of_colours_have_no_one_channel():
    assert one_channel(np.array([[RED]], np.uint8)) is None
    assert one_channel(np.zeros((2, 2, 3))).shape == (2, 2)


@pytest.mark.parametrize("count", [1, 11, 12, 13, 30])
def test_a_message_shows_a_dozen_of_the_known_values_in_their_order(count):
    values = list(range(100, 100 + count))
    shown = ", ".join(map(str, values[:12])) + (" ..." if count > 12 else "")
    table = LabelTable({**dict.fromkeys(reversed(values), 0), 7: None})
    with pytest.raises(ValueError, match=rf"^has the label 99, which is none of {shown}$"):
        table.classes(np.array([[100, 99, 7]]), 255)


def test_a_colour_is_packed_with_red_lowest():
    assert packed_color((1, 2, 3)) == 1 + 2 * 256 + 3 * 65536
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    packed = rgb2id(pixels)
    assert packed.tolist() == [[packed_color(pixel) for pixel in row] for row in pixels.tolist()]
    for red, green, blue in ((0, 0, 255), (255, 0, 0), (9, 200, 31)):
        assert label_text(packed_color((red, green, blue)), True) == (
            f"colour [{red}, {green}, {blue}]"
        )


def test_red_and_blue_are_swapped_only_where_all_colours_would_be_known():
    known = [packed_color(RED), packed_color(GREY)]
    assert swap_hint([packed_color(RED[::-1]), packed_color(GREY)], known).startswith(": red and")
    assert swap_hint([packed_color(RED[::-1]), packed_color((1, 2, 3))], known) == ""
    assert swap_hint([packed_color(RED)], known) == "", "as it is, it would be known"


def test_a_grey_picture_has_equal_channels_everywhere():
    grey = np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8)
    for channels in (1, 2, 3, 4):
        pixels = np.stack([grey] * channels, -1)
        np.testing.assert_array_equal(one_channel(pixels), grey)
    for channel in (1, 2):
        pixels = np.stack([grey] * 3, -1)
        pixels[2, 4, channel] ^= 1
        assert one_channel(pixels) is None
    alpha = np.stack([grey, grey, grey, grey ^ 1], -1)
    np.testing.assert_array_equal(one_channel(alpha), grey)


def test_a_coloured_picture_with_one_unknown_colour_is_one_of_colours():
    pixels = np.array([[RED, (1, 1, 1)]], np.uint8)
    with pytest.raises(ValueError, match=r"the colour \[1, 1, 1\], which"):
        COLORS.classes(pixels, 255)
    with pytest.raises(ValueError, match=r"the label 3, which is none of 1, 2, 80"):
        COLORS.classes(np.full((1, 2, 3), 3, np.uint8), 255)


def test_a_table_without_colours_reads_grey_in_three_channels():
    table = LabelTable({3: 5, 4: None})
    pixels = np.stack([np.array([[3, 4]], np.uint8)] * 3, -1)
    assert table.classes(pixels, 9).tolist() == [[5, 9]]
    assert table.renumbered([None] * 5 + [1]).class_of_color is None


def test_classes_beyond_bytes_and_void_are_whole():
    found = LabelTable({3: 70000, 4: None}).classes(np.array([[3, 4]], np.uint8), 65535)
    assert (found.tolist(), found.dtype) == ([[70000, 65535]], np.int64)

"""Captions lie inside their regions and the picture, and never on each other."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from freeseg.visualization.captions import MIN_FONT_SIZE, Caption, place_captions
from freeseg.visualization.drawn_segments import DrawnSegment, cut_out
from freeseg.visualization.text import load_font, text_size

RED = (230, 46, 46)


def rectangle(size, top, left, height, width, caption="word") -> DrawnSegment:
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return cut_out(mask, 0, RED, caption)


def box(caption: Caption) -> tuple[slice, slice]:
    return (
        slice(caption.top, caption.top + caption.height),
        slice(caption.left, caption.left + caption.width),
    )


def overlap(one: Caption, other: Caption) -> bool:
    return (
        one.left < other.left + other.width
        and other.left < one.left + one.width
        and one.top < other.top + other.height
        and other.top < one.top + one.height
    )


def random_regions(rng: np.random.Generator, size: tuple[int, int]) -> list[DrawnSegment]:
    """A random partition: every pixel belongs to the nearest of some points."""
    points = rng.uniform(0, 1, (rng.integers(2, 24), 2)) * size
    rows, columns = np.indices(size)
    distance = (rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2
    owner = distance.argmin(-1)
    names = ["sky", "wall-other-merged", "person 97%", "a rather long name of a class"]
    regions = [cut_out(owner == i, i, RED, names[i % 4]) for i in range(len(points))]
    return [region for region in regions if region is not None]


@pytest.mark.parametrize("size", [(60, 80), (240, 320), (600, 300), (40, 700)])
def test_captions_keep_apart_inside_the_picture_and_their_region(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(size))
    num_captions = 0
    for _ in range(3):
        regions = random_regions(rng, size)
        captions = place_captions(regions, size, font_size=max(9, min(size) // 24))
        num_captions += len(captions)
        for caption in captions:
            assert caption.left >= 0
            assert caption.top >= 0
            assert caption.left + caption.width <= size[1]
            assert caption.top + caption.height <= size[0]
            canvas = np.zeros(size, dtype=bool)
            covers = []
            for region in (region for region in regions if region.caption == caption.text):
                canvas[:] = False
                canvas[region.box] = region.mask
                covers.append(canvas[box(caption)].mean())
            assert max(covers) > 0.5
        for one, other in itertools.combinations(captions, 2):
            assert not overlap(one, other)
    assert num_captions >= 3


def test_a_region_with_room_gets_the_full_size_in_its_middle() -> None:
    [caption] = place_captions([rectangle((200, 300), 50, 100, 100, 150)], (200, 300), 14)
    assert caption.font_size == 14
    assert caption.text == "word"
    assert abs(caption.left + caption.width / 2 - 175) < 20
    assert abs(caption.top + caption.height / 2 - 100) < 12


def test_a_tight_region_gets_a_smaller_font() -> None:
    width, height = text_size("word", 20)
    region = rectangle((200, 300), 50, 100, height + 2, round(width * 1.15))
    [caption] = place_captions([region], (200, 300), 20)
    assert MIN_FONT_SIZE <= caption.font_size < 20


@pytest.mark.parametrize(("height", "width"), [(5, 5), (3, 200), (100, 4)])
def test_a_region_without_room_gets_none(height: int, width: int) -> None:
    assert place_captions([rectangle((200, 300), 50, 60, height, width)], (200, 300), 14) == []


def test_the_hidden_part_of_a_region_is_not_written_into() -> None:
    size = (200, 300)
    below = rectangle(size, 0, 0, 200, 300, "below")
    above = rectangle(size, 0, 0, 200, 200, "above")
    by_text = {caption.text: caption for caption in place_captions([below, above], size, 14)}
    assert by_text["below"].left >= 190
    assert by_text["above"].left + by_text["above"].width <= 205


def test_a_region_without_a_caption_is_skipped() -> None:
    assert place_captions([rectangle((200, 300), 0, 0, 200, 300, "")], (200, 300), 14) == []


def test_text_measures_grow_with_the_text_and_the_font() -> None:
    short, long = text_size("car", 20), text_size("car park", 20)
    assert short[0] < long[0]
    assert short[1] == long[1]
    assert text_size("car", 40)[0] == pytest.approx(2 * short[0], rel=0.1)
    assert load_font(20) is load_font(20)


def test_no_letter_leaves_its_measured_box() -> None:
    from PIL import Image, ImageDraw

    for text in ("Ägypten", "pavement", "jig", "person 100%", "×3"):
        width, height = text_size(text, 30)
        canvas = Image.new("L", (600, 200))
        ImageDraw.Draw(canvas).text((300, 100), text, fill=255, font=load_font(30), anchor="mm")
        _, _, drawn_width, drawn_height = cv2.boundingRect(np.array(canvas))
        assert drawn_width <= width + 2
        assert drawn_height <= height + 4

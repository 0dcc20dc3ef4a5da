"""What is painted into a photo, by which painter, and that all else stays the photo's."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from freeseg.editing import PaintingError, grown, load_painter, replace
from freeseg.editing.replacement import context_window, painter_size

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_painter import SIDE, write_painter

SIZES = {"odd": (97, 131), "small": (19, 23), "one row": (1, 40), "large": (70, 300)}


def noise(*size: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)


def rectangle(size: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[rows, columns] = True
    return mask


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    return load_painter(write_painter(tmp_path_factory.mktemp("painter")))


class ScriptedPainter:
    """Paints what a function makes of its picture, and remembers what it was asked."""

    def __init__(self, paint, side: int = SIDE) -> None:
        self.paint, self.asked, self.is_withheld = paint, [], False
        self.vae_scale_factor = 8
        self.unet = SimpleNamespace(config=SimpleNamespace(sample_size=side // 8))

    def __call__(self, **asked):
        self.asked.append(asked)
        assert asked["image"].size == asked["mask_image"].size == (asked["width"], asked["height"])
        flags = [True] if self.is_withheld else None
        return SimpleNamespace(images=[self.paint(asked["image"])], nsfw_content_detected=flags)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("grow", [0, 5])
def test_a_pipeline_paints_inside_of_the_grown_mask_alone(painter, name, grow) -> None:
    size = SIZES[name]
    photo, before = noise(*size), noise(*size)
    for place in (
        (slice(0, 1), slice(0, 1)),
        (slice(-9, None), slice(-7, None)),
        (slice(size[0] // 3, size[0] // 2 + 1), slice(8, 17)),
        (slice(None), slice(None)),
    ):
        mask = rectangle(size, *place)
        whole = grown(mask, grow)
        painted = replace(photo, mask, "a cat", painter, grow=grow, steps=2)
        np.testing.assert_array_equal(painted[~whole], photo[~whole])
        assert (painted[whole] != photo[whole]).any(-1).mean() > 0.9
    np.testing.assert_array_equal(photo, before)


def test_equal_seeds_and_words_paint_the_same(painter) -> None:
    photo, mask = noise(50, 60), rectangle((50, 60), slice(20, 40), slice(5, 30))

    def paint(words="a cat", seed=3, steps=2):
        return replace(photo, mask, words, painter, seed=seed, steps=steps)

    first = paint()
    np.testing.assert_array_equal(paint(), first)
    for other in (paint(words="dogs"), paint(seed=4), paint(steps=3)):
        assert (other != first).any()


def test_every_mask_has_a_painting_of_its_own_on_those_before(painter) -> None:
    size = (60, 140)
    photo = noise(*size)
    masks = np.stack(
        [
            rectangle(size, slice(5, 20), slice(5, 25)),
            np.zeros(size, bool),
            rectangle(size, slice(10, 30), slice(20, 40)),
            rectangle(size, slice(40, 55), slice(100, 138)),
        ]
    )
    expected = photo
    for number in (0, 2, 3):
        expected = replace(expected, masks[number], "a cat", painter, seed=7 + number, steps=2)
    np.testing.assert_array_equal(
        replace(photo, masks, "a cat", painter, seed=7, steps=2), expected
    )
    together = replace(photo, masks.any(0), "a cat", painter, seed=7, steps=2)
    assert (together != expected).any()


def test_a_colour_fills_the_grown_mask_to_the_last_pixel() -> None:
    red = ScriptedPainter(lambda image: Image.new("RGB", image.size, (255, 0, 0)))
    for size in SIZES.values():
        photo, mask = noise(*size), rectangle(size, slice(-1, None), slice(3, 9))
        expected = photo.copy()
        expected[grown(mask, 2)] = (255, 0, 0)
        np.testing.assert_array_equal(replace(photo, mask, "red", red, grow=2), expected)


def test_what_a_painter_leaves_as_it_is_lies_where_it_was() -> None:
    """A window of the painter's size comes back to the pixel; another one without a shift."""
    echo = ScriptedPainter(lambda image: image, side=128)
    photo, mask = noise(200, 300), rectangle((200, 300), slice(60, 124), slice(100, 164))
    np.testing.assert_array_equal(replace(photo, mask, "it", echo, grow=0), photo)
    assert echo.asked[0]["image"].size == (128, 128)
    rows, columns = np.mgrid[:200, :300]
    slope = np.stack([rows, (columns * 0.8).round(), 255 - rows], -1).astype(np.uint8)
    for columns_of_mask in (slice(20, 230), slice(120, 290)):
        mask = rectangle((200, 300), slice(10, 180), columns_of_mask)
        for side in (64, 96, 512):
            echo = ScriptedPainter(lambda image: image, side)
            changed = replace(slope, mask, "it", echo, grow=0)[mask].astype(float)
            assert np.abs(np.mean(changed - slope[mask], 0)).max() < 0.2  # a pixel's shift: 1, 0.8


def test_a_painter_is_asked_for_what_was_said() -> None:
    echo = ScriptedPainter(lambda image: image)
    photo, mask = noise(40, 50), rectangle((40, 50), slice(3, 5), slice(0, 1))
    replace(photo, mask, "a cat", echo, seed=11, grow=0)
    replace(photo, mask, "a cat", echo, seed=11, steps=9)
    usual, quick = echo.asked
    assert usual["prompt"] == "a cat"
    assert usual["generator"].initial_seed() == 11
    assert "num_inference_steps" not in usual
    assert quick["num_inference_steps"] == 9


def test_one_pixel_of_a_large_window_is_not_lost_to_the_painter() -> None:
    echo = ScriptedPainter(lambda image: image)
    photo = noise(700, 700)
    mask = np.zeros((700, 700), bool)
    mask[2, 2] = mask[690, 333] = True
    replace(photo, mask, "it", echo, grow=0)
    shown = np.asarray(echo.asked[0]["mask_image"])
    assert shown.shape == (64, 64)
    assert np.argwhere(shown == 255).tolist() == [[0, 0], [63, 30]]
    assert set(np.unique(shown)) == {0, 255}


def test_a_window_is_twice_its_object_and_no_closer_than_32_pixels() -> None:
    size = (1000, 1000)
    large = rectangle(size, slice(400, 500), slice(300, 500))  # 200 long: 100 on each side
    assert context_window(large) == (slice(250, 650), slice(200, 600))
    small = rectangle(size, slice(500, 510), slice(0, 4))
    assert context_window(small) == (slice(468, 542), slice(0, 39))


@pytest.mark.parametrize(
    ("parts", "size", "expected"),
    [
        ({"unet": 64}, (300, 300), (512, 512)),
        ({"unet": 64}, (300, 450), (344, 512)),  # 341.3 is 42.7 times 8
        ({"unet": 128}, (2000, 10), (1024, 8)),
        ({"unet": None}, (50, 50), (1024, 1024)),
        ({"samples": 128, "processor": 16}, (100, 80), (1024, 816)),  # 819.2 is 51.2 times 16
        ({}, (64, 128), (512, 1024)),
    ],
    ids=["as learned", "oblong", "XL", "no size", "Flux", "nothing known"],
)
def test_the_longer_side_is_the_painter_s_and_both_are_multiples(parts, size, expected) -> None:
    painter = SimpleNamespace(vae_scale_factor=8)
    if "unet" in parts:
        painter.unet = SimpleNamespace(config=SimpleNamespace(sample_size=parts["unet"]))
    if "samples" in parts:
        painter.default_sample_size = parts["samples"]
    if "processor" in parts:
        config = SimpleNamespace(vae_scale_factor=parts["processor"])
        painter.image_processor = SimpleNamespace(config=config)
    assert painter_size(painter, *size) == expected


def test_a_picture_that_was_withheld_is_not_pasted() -> None:
    painter = ScriptedPainter(lambda image: Image.new("RGB", image.size))
    painter.is_withheld = True
    with pytest.raises(PaintingError, match=r"safety checker has withheld .* another seed"):
        replace(noise(9, 9), np.ones((9, 9), bool), "it", painter)


def test_words_are_needed() -> None:
    with pytest.raises(ValueError, match="an empty prompt"):
        replace(noise(9, 9), np.ones((9, 9), bool), " ", ScriptedPainter(lambda image: image))

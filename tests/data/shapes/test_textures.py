"""Textures as written out with plain convolutions and loops, from the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from freeseg.data.shapes import textures
from freeseg.data.shapes.vocabulary import STUFF

SIZE = (40, 57)  # rows and columns


def smooth(values, cell):
    """A Gaussian of these deviations (rows, columns), mirrored at the borders without them."""
    for axis, sigma in enumerate(cell):
        reach = (round(8 * sigma + 1) | 1) // 2
        steps = np.arange(-reach, reach + 1)
        weights = np.exp(-(steps**2) / (2 * sigma**2))
        weights /= weights.sum()
        pads = [(0, 0), (0, 0)]
        pads[axis] = (reach, reach)
        padded = np.pad(values, pads, mode="reflect")
        values = sum(
            weight * np.take(padded, range(number, number + values.shape[axis]), axis)
            for number, weight in enumerate(weights)
        )
    return values


def grains(random, cell):
    values = random.standard_normal(SIZE).astype(np.float32).astype(float)
    values = smooth(values, cell) if max(cell) else values
    return (values - values.mean()) / values.std()


def mixed(base, *layers):
    """A colour and layers of noise, for each channel by itself."""
    channels = [
        np.clip(base[each] + sum(values * strength[each] for values, strength in layers), 0, 255)
        for each in range(3)
    ]
    return np.stack(channels, -1)


@pytest.mark.parametrize("cell", [(0, 0), (2.5, 0.6), (0.7, 2.5), (9, 22)])
def test_noise_is_smooth_by_rows_and_columns(cell):
    found = textures.noise(np.random.default_rng(3), SIZE, cell)
    assert found == pytest.approx(grains(np.random.default_rng(3), cell), abs=2e-3)
    assert (found.mean(), found.std()) == pytest.approx((0, 1), abs=1e-4)


def grass(random):
    blades, patches = grains(random, (2.5, 0.6)), grains(random, (14, 14))
    return mixed((92, 122, 58), (blades, (18, 22, 12)), (patches, (8, 8, 3)))


def sky(random):
    clouds, haze = grains(random, (9, 22)), grains(random, (40, 60))
    bright = np.where(clouds < 0.2, 0, np.where(clouds > 2.5, 2.3, clouds - 0.2))
    return mixed((142, 184, 226), (bright, (44, 30, 13)), (haze, (5, 4, 2)))


def water(random):
    bent = grains(random, (5, 12))
    waves = np.array([np.sin(2 * np.pi * row / 8 + 2.2 * bent[row]) for row in range(SIZE[0])])
    sparks = grains(random, (0.7, 2.5)) - 1.3
    sparks = np.where(sparks < 0, 0, np.where(sparks > 2, 2, sparks))
    return mixed((48, 104, 136), (waves, (9, 13, 14)), (sparks, (50, 50, 46)))


def sand(random):
    fine, dunes = grains(random, (0, 0)), grains(random, (6, 26))
    return mixed((204, 182, 138), (fine, (9, 9, 8)), (dunes, (9, 9, 10)))


def brick(random):
    """Courses of 9 rows, every other one moved by half a brick of 20; a line of mortar each."""
    shades = random.standard_normal((4 + 1, 3 + 1)).astype(np.float32)
    rough = grains(random, (0.6, 0.6))
    shade, is_mortar = np.zeros(SIZE), np.zeros(SIZE, bool)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            along = column + (10 if row // 9 in (1, 3) else 0)
            shade[row, column] = shades[row // 9, along // 20]
            is_mortar[row, column] = row % 9 == 0 or along % 20 == 0
    bricks = mixed((148, 84, 66), (shade, (14, 9, 7)), (rough, (5, 5, 5)))
    mortar = mixed((176, 168, 158), (rough, (5, 5, 5)))
    return np.where(is_mortar[..., None], mortar, bricks)


TEXTURES = {"grass": grass, "sky": sky, "water": water, "sand": sand, "brick": brick}


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_are_their_colour_and_layers_of_noise(name):
    found = getattr(textures, f"_{name}")(np.random.default_rng(8), SIZE)
    assert found.dtype == np.float32
    assert np.abs(found - TEXTURES[name](np.random.default_rng(8))).max() < 0.05
    by_name = np.abs(found.mean((0, 1)) - STUFF[name])
    assert by_name.max() < 18, "legends have the colour of what they stand for"


def test_tiles_of_all_stuff_are_drawn_one_after_the_other():
    tiles = textures.stuff_tiles(np.random.default_rng(2), 41)
    assert list(tiles) == list(STUFF)
    random = np.random.default_rng(2)
    for name, tile in tiles.items():
        assert np.array_equal(tile, getattr(textures, f"_{name}")(random, (41, 41)))


def pattern(random, height, width):
    """An object's pattern, pixel by pixel, and its kind."""
    angle, period = random.uniform(0, np.pi), random.uniform(5, 9)
    kind = int(random.integers(4))
    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            one = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
            other = np.sin((y * np.cos(angle) - x * np.sin(angle)) * 2 * np.pi / period)
            value = (0, np.sign(one), 1 if one + other > 1 else -0.3, np.sign(one * other))[kind]
            light = 0.07 - 0.14 * (x + y) / max(height + width - 2, 1)
            found[y, x] = 0.9 + 0.1 * value + light
    return found, kind


def test_objects_are_plain_striped_dotted_or_checked_and_lit_from_the_top_left():
    kinds = set()
    for seed in range(12):
        expected, kind = pattern(np.random.default_rng(seed), 13, 18)
        found = textures.object_pattern(np.random.default_rng(seed), (13, 18))
        is_near = np.abs(found - expected) < 1e-3
        assert is_near.mean() > 0.99, "all but pixels on the border of two stripes"
        kinds.add(kind)
    assert kinds == {0, 1, 2, 3}
    for size in ((1, 1), (1, 2), (2, 1)):
        small, _ = pattern(np.random.default_rng(1), *size)
        assert textures.object_pattern(np.random.default_rng(1), size) == pytest.approx(small)

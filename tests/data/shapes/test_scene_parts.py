"""The parts of a scene: outlines, bands of ground, windows of textures, and paint."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

from freeseg.data.shapes import scene
from freeseg.data.shapes.scene import outline
from freeseg.data.shapes.vocabulary import SHAPES, STUFF

SIDE = 96
TILES = {name: np.full((SIDE + 9, SIDE + 9, 3), 10.0 * n) for n, name in enumerate(STUFF, 1)}


def area(points):
    x, y = np.asarray(points).T
    return abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


AREAS = {  # of radius 1, by geometry
    "circle": 24 * 0.9**2 * np.sin(np.pi / 24),  # a polygon of 48 corners
    "square": 1.6**2,
    "triangle": 0.75 * np.sqrt(3),
    "star": 5 * 1.1 * 0.45 * np.sin(np.pi / 5),
    "cross": 2 * 1.9 * 0.68 - 0.68**2,
    "heart": 180 * np.pi / 16.5**2,
}
TOPS = {  # of the highest point and of the lowest
    "circle": (-0.9, 0.9),
    "square": (-0.8, 0.8),
    "triangle": (-0.85, 0.65),
    "star": (-1.1, 1.1 * np.cos(np.pi / 5)),
    "cross": (-0.95, 0.95),
    "heart": (-11.98 / 16.5, 17 / 16.5),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_have_the_area_and_the_height_of_their_shape(shape):
    points = outline(shape)
    assert area(points) == pytest.approx(AREAS[shape], rel=0.01 if shape == "heart" else 1e-6)
    assert (points[:, 1].min(), points[:, 1].max()) == pytest.approx(TOPS[shape], abs=0.01)
    mirrored = points * [-1, 1]
    distances = np.linalg.norm(points[:, None] - mirrored, axis=-1).min(1)
    assert distances.max() < 1e-9, "left is as right"


def test_outlines_have_their_corners():
    assert {shape: len(outline(shape)) for shape in SHAPES} == {
        "circle": 48, "square": 4, "triangle": 3, "star": 10, "heart": 48, "cross": 12,
    }  # fmt: skip
    for shape in SHAPES:
        assert len(np.unique(outline(shape).round(9), axis=0)) == len(outline(shape)), "once each"
    assert np.linalg.norm(outline("circle"), axis=1) == pytest.approx(np.full(48, 0.9))
    star = np.linalg.norm(outline("star"), axis=1)
    assert star == pytest.approx(np.tile([1.1, 0.45], 5))
    cross = np.abs(outline("cross"))
    assert set(map(tuple, cross.round(6).tolist())) == {(0.34, 0.95), (0.34, 0.34), (0.95, 0.34)}
    lobes = outline("heart")[:, 1] < -0.6
    assert set(np.sign(outline("heart")[lobes][:, 0]).tolist()) == {-1.0, 1.0}, "two above"


def grounds(count, names=tuple(STUFF), side=SIDE):
    for seed in range(count):
        yield scene._ground(np.random.default_rng(seed), TILES, side, list(names))


def test_something_upright_stands_behind_one_or_two_kinds_of_ground():
    found = Counter(bands for _, _, bands in grounds(400, side=16))
    shares = Counter()
    for (top, *rest), count in found.items():
        flat = [name for name in rest if name != "brick"]
        assert top in ("sky", "brick")
        assert set(flat) <= {"grass", "water", "sand"}
        assert len(set(flat)) == len(flat) >= 1
        assert "brick" not in rest or (top, rest[0]) == ("sky", "brick")
        assert 2 <= len(rest) + 1 <= 3
        shares[top] += count / 400
        shares["a wall under the sky"] += count / 200 * ("brick" in rest)
        shares["two"] += count / 400 * (len(rest) == 2)
    assert shares["sky"] == pytest.approx(0.5, abs=0.07)
    assert shares["a wall under the sky"] == pytest.approx(0.3, abs=0.07)
    assert shares["two"] == pytest.approx(0.5 + 0.15 * 0.5, abs=0.07)
    assert len(found) == 3 + 6 + 3 + 6 + 3, "all that there may be"
    only = Counter(bands for _, _, bands in grounds(30, ("sky", "sand"), 16))
    assert set(only) == {("sky", "sand")}, "no wall where none may be"


def test_bands_lie_below_each_other_and_share_the_height():
    tops = []
    for image, ids, bands in grounds(120):
        rows = [np.nonzero(ids == number)[0] for number in range(1, len(bands) + 1)]
        assert sorted({*np.unique(ids).tolist()}) == list(range(1, len(bands) + 1))
        assert (np.diff(ids, axis=0) >= 0).all()
        assert [row.mean() for row in rows] == sorted(row.mean() for row in rows)
        if len(bands) == 2:
            tops.append(len(rows[0]) / ids.size)
        for number, name in enumerate(bands, 1):
            shades = image[ids == number] / TILES[name][0, 0]
            assert np.ptp(shades) < 1e-5, "one light on each"
            assert 0.85 <= shades[0, 0] <= 1.12 + 1e-6
    assert 0.35 - 0.02 < min(tops) < 0.43
    assert 0.57 < max(tops) < 0.65 + 0.02


def test_borders_are_waves_and_the_top_of_a_wall_is_straight():
    heights = []
    for seed in range(60):
        wave = scene._wave(np.random.default_rng(seed), np.arange(200), 200, "sand")
        same = np.random.default_rng(seed)
        strength = 0.035 * 200 * same.uniform(0.3, 1.0)
        (one, two), (turns, more) = same.uniform(0, 2 * np.pi, 2), same.uniform(0.5, 2.5, 2)
        by_hand = [
            strength * (np.sin(x * turns / 200 * 2 * np.pi + one)
                        + np.sin(x * more / 200 * 2 * np.pi + two))
            for x in range(200)
        ]  # fmt: skip
        assert wave == pytest.approx(by_hand, abs=1e-9)
        heights.append(np.abs(wave).max())
    assert max(heights) <= 2 * 0.035 * 200
    assert not scene._wave(np.random.default_rng(0), np.arange(20), 20, "brick").any()
    for _, ids, bands in grounds(60):
        if bands[1] == "brick":
            assert len({*(ids == 1).sum(0).tolist()}) == 1


def test_windows_of_a_texture_are_from_everywhere_and_half_are_mirrored():
    rows, columns = np.indices((14, 14)).astype(np.float32)
    tile = np.stack([rows, columns, np.full((14, 14), 100)], -1)
    starts, mirrored, lights = Counter(), 0, []
    for seed in range(400):
        window = scene._cut(np.random.default_rng(seed), tile, 8)
        assert window.shape == (8, 8, 3)
        lights.append(window[0, 0, 2] / 100)
        places = (window / lights[-1]).round().astype(int)
        is_mirrored = places[0, 0, 1] > places[0, 1, 1]
        top, left = places[0, 0, 0], min(places[0, 0, 1], places[0, -1, 1])
        plain = tile[top : top + 8, left : left + 8]
        assert np.allclose(window, lights[-1] * (plain[:, ::-1] if is_mirrored else plain))
        assert [top, left] == np.random.default_rng(seed).integers(0, 6, 2).tolist()
        starts[int(top), int(left)] += 1
        mirrored += is_mirrored
    assert {top for top, _ in starts} == {left for _, left in starts} == set(range(6))
    assert len(starts) == 36, "rows and columns are two draws"
    assert 160 < mirrored < 240
    assert 0.85 <= min(lights) < 0.86
    assert 1.11 < max(lights) <= 1.12 + 1e-6


def test_paint_is_a_shadow_a_body_and_a_rim(monkeypatch):
    """As written out over the whole picture, where the product works in a window of it."""
    asked = []

    def pattern(_, size):
        asked.append(size)
        return np.full(size, 0.9, np.float32)

    monkeypatch.setattr(scene, "object_pattern", pattern)
    for place, size in (((30, 40), (20, 14)), ((0, 0), (12, 20)), ((80, 70), (30, 30))):
        alpha = np.zeros((SIDE, SIDE), np.float32)
        alpha[place[0] : place[0] + size[0], place[1] : place[1] + size[1]] = 1
        alpha[place[0], place[1] : place[1] + size[1]] = 0.25  # half covered
        image = np.random.default_rng(1).uniform(60, 200, (SIDE, SIDE, 3)).astype(np.float32)
        found = image.copy()
        scene._paint(np.random.default_rng(5), found, alpha, (250, 120, 40))

        moved = np.zeros_like(alpha)
        moved[2:, 2:] = alpha[:-2, :-2]  # 96 // 48
        shadow = ndimage.gaussian_filter(moved, SIDE / 64, mode="mirror", truncate=4)
        ground = image * (1 - 0.35 * shadow * (1 - alpha))[..., None]
        tint = np.array([250, 120, 40]) + np.random.default_rng(5).normal(0, 5, 3)
        inner = ndimage.minimum_filter(alpha, 3, mode="constant", cval=1)
        body = tint * (0.9 * (0.72 + 0.28 * inner))[..., None]
        expected = ground * (1 - alpha[..., None]) + body * alpha[..., None]
        assert np.abs(found - expected).max() < 0.3
        reach = np.zeros((SIDE, SIDE), bool)
        reach[max(0, place[0] - 8) : place[0] + size[0] + 8,
              max(0, place[1] - 8) : place[1] + size[1] + 8] = True  # fmt: skip
        assert (found == image)[~reach].all()
        assert asked.pop() == (reach.any(1).sum(), reach.any(0).sum()), "patterns begin there"


def test_small_pictures_have_a_shadow_as_well():
    image, alpha = np.full((32, 32, 3), 100, np.float32), np.zeros((32, 32), np.float32)
    alpha[10:20, 10:20] = 1
    scene._paint(np.random.default_rng(0), image, alpha, (200, 200, 200))
    assert (image[20, 12:20] < 90).all(), "one pixel below"
    assert np.allclose(image[9, 10:18], 100, atol=4)
    assert (image[20, 12:20] < image[9, 12:20] - 5).all()

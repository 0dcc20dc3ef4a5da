"""Crops of scenes whose segments each have their own constant, and the ranges of proposals."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from freeseg.data.shapes import crops
from freeseg.data.shapes.crops import cut_crops
from freeseg.data.shapes.scene import Scene
from freeseg.data.shapes.vocabulary import categories

NAMES = [row.name for row in categories()]
FILL = (0.6, 0.2, 0.8)  # 153, 51 and 204
HEIGHT, WIDTH = 40, 40


def scene_of(number, names, sizes):
    """Segments of these widths beside each other; each has a ramp of its own over its constant.

    The first one goes on above the others.
    """
    ids = np.repeat(np.arange(1, len(names) + 1), sizes)[None].repeat(HEIGHT, 0)
    ids[:8] = 1
    rows = np.arange(HEIGHT)[:, None] + 0 * ids
    image = np.stack([20 * ids + number, 3 * rows, 100 + 10 * ids], -1).astype(np.uint8)
    return Scene(image, ids.astype(np.int32), names, f"caption {number}")


SCENES = (
    scene_of(0, ("sky", "sand", "red star", "blue cross"), (20, 9, 5, 6)),
    scene_of(1, ("brick", "white heart", "red circle"), (25, 8, 7)),
)
KEPT = ("sky", "sand", "red star", "blue cross", "brick", "white heart", "red circle")


@pytest.fixture
def given(monkeypatch):
    """Scenes in the place of drawn ones; says what they were asked for with."""
    asked = []

    def tiles(generator, side):
        asked.append(SimpleNamespace(side=side, first=generator.random(), scenes=[]))
        return asked[-1]

    def render(generator, tiles, side, names):
        tiles.scenes.append(SimpleNamespace(generator=generator, side=side, names=names))
        return SCENES[(sum(len(each.scenes) for each in asked) - 1) % len(SCENES)]

    monkeypatch.setattr(crops, "stuff_tiles", tiles)
    monkeypatch.setattr(crops, "render_scene", render)
    return asked


def resized(pixels, side):
    """Bicubic with aligned corners, by PyTorch."""
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].double()
    found = F.interpolate(image, (side, side), mode="bicubic", align_corners=True)
    return found[0].round().clamp(0, 255)


def cut(number_of_scenes=2, **more):
    settings = {"seed": 3, "side": 12, "fill": FILL, "exact": True, "scene_side": 40}
    return cut_crops(number_of_scenes, **{**settings, **more})


def test_every_segment_arrives_with_its_class_alone_and_with_its_surroundings(given):
    found = cut()
    assert [NAMES[label] for label in found.classes.tolist()] == list(KEPT)
    assert found.captions == ("caption 0", "caption 1")
    for crop, scene in zip(found.scenes, SCENES):
        assert (crop - resized(scene.image, 12)).abs().max() <= 1
    place = 0
    for number, scene in enumerate(SCENES):
        draws = np.random.default_rng([3, number, 1])
        for segment, name in enumerate(scene.names, 1):
            mask = scene.ids == segment
            left, top, right, bottom = box_of(mask)
            painted = np.where(mask[..., None], scene.image, 255 * np.array(FILL))
            window = painted[top:bottom, left:right]
            assert (found.masked[place] - resized(window, 12)).abs().max() <= 1
            if segment == 1:
                assert found.masked[place][:, -1, -1].tolist() == [153, 51, 204]
            if name in ("sky", "sand", "brick"):
                middle, half = draws.integers(mask.sum()), draws.integers(40 // 16, 40 // 5)
                y, x = np.argwhere(mask)[middle]
                top, left, bottom, right = y - half, x - half, y + half, x + half
            else:
                more = (draws.uniform(1.0, 1.5) - 1) / 2
                more_x, more_y = round(more * (right - left)), round(more * (bottom - top))
                top, left = top - more_y, left - more_x
                bottom, right = bottom + more_y, right + more_x
            window = scene.image[max(0, top) : min(40, bottom), max(0, left) : min(40, right)]
            assert (found.plain[place] - resized(window, 12)).abs().max() <= 1, name
            place += 1
    assert place == len(found.plain) == len(found.masked)
    assert {each.dtype for each in (found.masked, found.plain, found.scenes)} == {torch.uint8}
    assert found.classes.dtype == torch.int64


def test_a_segment_of_exactly_24_pixels_is_kept_and_one_of_23_is_not(given, monkeypatch):
    ids = np.ones((40, 40), np.int32)
    ids[0, :24], ids[1, :23] = 2, 3
    small = Scene(np.zeros((40, 40, 3), np.uint8), ids, ("sky", "red star", "red heart"), "")
    monkeypatch.setattr(crops, "render_scene", lambda *_: small)
    assert [NAMES[label] for label in cut(1).classes.tolist()] == ["sky", "red star"]


def test_proposals_are_cut_where_masks_are_not_exact(given, monkeypatch):
    """The masked crop follows the proposal, its box too."""
    proposals = []

    def proposal(generator, mask):
        proposals.append(np.roll(mask, 3, axis=0) & (np.arange(40) % 7 > 1)[:, None])
        return proposals[-1]

    monkeypatch.setattr(crops, "_proposal", proposal)
    found = cut(1, exact=False)
    for crop, mask in zip(found.masked, proposals):
        rows, columns = np.nonzero(mask)
        window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        painted = np.where(mask[..., None], SCENES[0].image, 255 * np.array(FILL))
        assert (crop - resized(painted[window], 12)).abs().max() <= 1
    assert len(proposals) == 4
    proposals.clear()
    cut(1, exact=True)
    assert not proposals


def test_a_hundred_scenes_share_their_ground_and_none_its_draws(given):
    scenes = list(crops._scenes(201, 6, 24, ["sand", "red star"]))
    assert [len(each.scenes) for each in given] == [100, 100, 1]
    for number, each in zip((0, 100, 200), given):
        assert each.side == 4 * 24
        assert each.first == np.random.default_rng([6, number]).random()
    asked = [each for tiles in given for each in tiles.scenes]
    for number, ((_, generator), each) in enumerate(zip(scenes, asked)):
        assert generator is each.generator
        assert generator.random() == np.random.default_rng([6, number, 1]).random()
        assert each.side == 24
        assert each.names == frozenset(NAMES) - {"sand", "red star"}
    assert len(scenes) == 201


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_surroundings_of_things_are_up_to_a_quarter_on_each_side():
    mask = np.zeros((100, 100), bool)
    mask[30:50, 40:80] = True  # 40 x 20
    found = {
        tuple(crops._surroundings(np.random.default_rng(seed), mask, is_stuff=False))
        for seed in range(300)
    }
    wider = {40 - left for left, _, _, _ in found}
    assert wider == set(range(11)), "0 to a quarter of 40"
    for left, top, right, bottom in found:
        assert right - 80 == 40 - left
        assert bottom - 50 == 30 - top
        assert abs((30 - top) - (40 - left) / 2) <= 1, "as much of either side"
    corner = np.zeros((100, 100), bool)
    corner[:40, 70:] = True
    for seed in range(40):
        left, top, right, bottom = crops._surroundings(
            np.random.default_rng(seed), corner, is_stuff=False
        )
        assert (top, right) == (0, 100), "the picture ends there"
        assert 62 <= left <= 70
        assert 40 <= bottom <= 50


def test_surroundings_of_stuff_are_windows_around_its_pixels():
    mask = np.zeros((80, 80), bool)
    mask[20:24, 60:66] = True
    middles, halves = Counter(), set()
    for seed in range(600):
        left, top, right, bottom = crops._surroundings(
            np.random.default_rng(seed), mask, is_stuff=True
        )
        half = bottom - top
        assert half % 2 == 0
        middles[(top + bottom) // 2, right if right == 80 else (left + right) // 2] += 1
        halves.add(half // 2)
        assert right == min(80, left + half)
    assert halves == set(range(80 // 16, 80 // 5))
    assert {y for y, _ in middles} == {20, 21, 22, 23}
    assert {x for _, x in middles if x < 80} == set(range(60, 66))
    edge = np.zeros((80, 80), bool)
    edge[0, 0] = edge[79, 79] = True
    found = {
        tuple(side in (0, 80) for side in crops._surroundings(
            np.random.default_rng(seed), edge, is_stuff=True
        ))
        for seed in range(20)
    }  # fmt: skip
    assert found == {(True, True, False, False), (False, False, True, True)}


class Chosen:
    """A generator that gives what a test has chosen."""

    def __init__(self, shift, softness, waves, threshold):
        self.shift, self.values = shift, [softness, waves, threshold]
        self.asked = []

    def integers(self, low, high, count):
        self.asked.append((low, high, count))
        return np.array(self.shift)

    def uniform(self, low, high):
        self.asked.append((low, high))
        return self.values[len(self.asked) - 2]

    def normal(self, mean, deviation, size):
        assert (mean, size) == (0, (12, 16))
        return np.full(size, deviation)


def proposed(mask, *, shift=(0, 0), softness=0.2, waves=0.0, threshold=0.5):
    return crops._proposal(Chosen(shift, softness, waves, threshold), mask)


BLOCKS = np.zeros((48, 64), bool)
BLOCKS[12:32, 16:44] = True  # whole cells of 4 x 4


def test_proposals_are_drawn_from_their_ranges():
    generator = Chosen((0, 0), 0.5, 0.1, 0.5)
    crops._proposal(generator, BLOCKS)
    assert generator.asked == [(-1, 2, 2), (0.2, 0.8), (0, 0.2), (0.35, 0.6)]


def test_proposals_are_masks_on_a_grid_moved_wider_or_narrower():
    found = proposed(BLOCKS)
    assert (found != BLOCKS).sum() < 10, "but for corners"
    assert box_of(found) == (16, 12, 44, 32)
    moved = np.roll(BLOCKS, (1, -1), (0, 1))
    reached = proposed(BLOCKS, shift=(1, -1)) & ~BLOCKS
    assert not (reached & ~ndimage.binary_dilation(moved, iterations=2)).any()
    down = ndimage.center_of_mass(proposed(BLOCKS, shift=(1, -1)))
    still = ndimage.center_of_mass(found)
    assert np.subtract(down, still) == pytest.approx((1, -1), abs=0.3)
    sizes = [proposed(BLOCKS, threshold=each).sum() for each in (0.35, 0.5, 0.6)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3
    soft = proposed(BLOCKS, softness=0.8)
    assert not soft[12:14, 16:18].any(), "corners are round"
    assert proposed(BLOCKS, threshold=0.6)[13:15, 17:19].all(), "and else are not"


def test_proposals_stay_near_their_mask_and_are_never_empty():
    everywhere = proposed(BLOCKS, waves=5.0)
    assert np.array_equal(everywhere, ndimage.binary_dilation(BLOCKS, np.ones((9, 9))))
    moved = proposed(BLOCKS, shift=(1, 1), waves=5.0)
    assert box_of(moved) == (13, 9, 49, 37)
    dot = np.zeros((48, 64), bool)
    dot[10, 20] = True
    assert np.array_equal(proposed(dot, threshold=0.6), dot), "nothing was left of it"

"""Scenes against an independent rasteriser, and every draw against the range it is from."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from freeseg.data.shapes import ShapesSplit, scene
from freeseg.data.shapes.scene import outline, render_scene
from freeseg.data.shapes.vocabulary import COLORS, SHAPES, STUFF, thing_name

SIDE = 48
ALL = ShapesSplit("all", 1, 0).class_names()
TILES = {  # one colour each, bright enough that light and noise leave no doubt
    name: np.full((4 * SIDE, 4 * SIDE, 3), color, np.float32)
    for name, color in zip(
        STUFF, [(60, 150, 60), (60, 60, 150), (150, 60, 60), (60, 150, 150), (150, 150, 60)]
    )
}


def inside(points, side: int, parts: int = 4) -> np.ndarray:
    """Share of every pixel [S, S] inside an outline (x, y): even or odd crossings to the left."""
    grid = (np.arange(side * parts) + 0.5) / parts - 0.5
    x, y = np.meshgrid(grid, grid)
    is_inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]]):
        if y0 != y1:
            crosses = (y0 <= y) != (y1 <= y)
            is_inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return is_inside.reshape(side, parts, side, parts).mean((1, 3))


def draw(count):
    """Scenes with every try of every object that was placed in them, and what was painted."""
    scenes = []
    with pytest.MonkeyPatch.context() as patch:

        def place(generator, shape, ids, num_stuff, full_areas):
            one = SimpleNamespace(shape=shape, ids=ids.copy(), full=list(full_areas), tries=[])
            scenes[-1].objects.append(one)
            one.num_stuff, one.color = num_stuff, None
            one.alpha = original.place(generator, shape, ids, num_stuff, full_areas)
            return one.alpha

        def fill(points, side):
            alpha = original.fill(points, side)
            scenes[-1].objects[-1].tries.append((points.copy(), alpha.copy()))
            return alpha

        def paint(generator, image, alpha, color):
            scenes[-1].objects[-1].color = color
            original.paint(generator, image, alpha, color)

        original = SimpleNamespace(place=scene._place, fill=scene._fill, paint=scene._paint)
        patch.setattr(scene, "_place", place)
        patch.setattr(scene, "_fill", fill)
        patch.setattr(scene, "_paint", paint)
        for seed in range(count):
            scenes.append(SimpleNamespace(objects=[]))
            scenes[-1].result = render_scene(np.random.default_rng(seed), TILES, SIDE, ALL)
    return scenes


def placed(drawing):
    return [each for each in drawing.objects if each.alpha is not None]


def similarity(points, shape):
    """Size, turn, middle and misfit of an outline: points = size * turned outline + middle."""
    given = outline(shape)
    from_middle = given - given.mean(0)
    z, w = from_middle @ [1, 1j], (points - points.mean(0)) @ [1, 1j]
    factor = (z.conj() @ w) / (z.conj() @ z)
    turned = np.stack([(factor * (given @ [1, 1j])).real, (factor * (given @ [1, 1j])).imag], 1)
    middle = points.mean(0) - turned.mean(0)
    return abs(factor), np.angle(factor), middle, np.abs(turned + middle - points).max()


def test_masks_are_where_an_independent_rasteriser_puts_the_outline():
    """All of the outline is covered, and nothing that is further than a pixel from it."""
    near = ndimage.generate_binary_structure(2, 2)
    shapes = set()
    for each in [each for drawing in draw(12) for each in placed(drawing)]:
        share, mask = inside(each.tries[-1][0], SIDE), each.alpha > 0.5
        assert mask[share > 0.5].all()
        assert not mask[~ndimage.binary_dilation(share > 0, near)].any()
        assert each.alpha.max() <= 1
        shapes.add(each.shape)
    assert shapes == set(SHAPES)


def test_later_objects_cover_earlier_ones_and_nothing_else_changes():
    for drawing in draw(25):
        result, objects = drawing.result, placed(drawing)
        num_stuff = len(result.names) - len(objects)
        ids = drawing.objects[0].ids
        for number, each in enumerate(objects, num_stuff + 1):
            assert np.array_equal(each.ids, ids)
            assert each.full == [(one.alpha > 0.5).sum() for one in objects[: len(each.full)]]
            assert each.num_stuff == num_stuff
            ids = np.where(each.alpha > 0.5, number, ids)
            name = result.names[number - 1]
            assert name == thing_name({v: k for k, v in COLORS.items()}[each.color], each.shape)
        assert np.array_equal(result.ids, ids)


def test_an_object_is_put_where_enough_of_all_others_stays():
    """Every try that was refused broke the rule, and none that was taken did."""
    refused = 0
    for each in [each for drawing in draw(60) for each in drawing.objects]:
        for number, (_, alpha) in enumerate(each.tries, 1):
            free = each.ids[alpha <= 0.5]
            stuff = [(free == label).any() for label in range(1, each.num_stuff + 1)]
            shares = [
                (free == each.num_stuff + place).sum() / full
                for place, full in enumerate(each.full, 1)
            ]
            fits = all(stuff) and min(shares, default=1) >= 0.4 and (alpha > 0.5).any()
            assert fits == (each.alpha is not None and number == len(each.tries))
            refused += not fits
    assert refused > 20


class Fixed:
    """A generator whose draws are all in the middle of their range, or what is given."""

    def __init__(self, **given):
        self.given = given
        self.calls = 0

    def uniform(self, low, high, size=None):
        self.calls += 1
        middle = (low + high) / 2
        value = self.given.get("uniform", middle)
        return value if size is None else np.full(size, middle)


@pytest.mark.parametrize(("more", "is_placed"), [(0, True), (1, False)], ids=["exactly", "less"])
def test_exactly_the_share_that_must_stay_visible_is_enough(more, is_placed):
    side = 60
    covered = scene._place(Fixed(), "square", np.ones((side, side), int), 1, []) > 0.5
    ids = np.full((side, side), 2)
    ids[0, :] = 1  # the ground
    left = int((ids[~covered] == 2).sum())
    ids[1, : left % 2] = 1  # an even number of pixels stays
    full = left // 2 * 5 + more  # two fifths of it
    generator = Fixed()
    alpha = scene._place(generator, "square", ids, 1, [full])
    assert (alpha is not None) == is_placed
    assert generator.calls == (3 if is_placed else 3 * 20), "size, place and turn of every try"


def test_tries_are_drawn_from_their_ranges_and_reach_both_ends():
    tries = [
        (each.shape, points)
        for drawing in draw(80)
        for each in drawing.objects
        for points, _ in each.tries
    ]
    found = [similarity(points, shape) for shape, points in tries]
    sizes, turns, middles, misfits = (np.array(column) for column in zip(*found))
    assert misfits.max() < 1e-9, "outlines are only turned, moved and scaled, not mirrored"
    shares = np.log(sizes / SIDE)
    assert shares.min() >= np.log(0.08) - 1e-9
    assert shares.max() <= np.log(0.26) + 1e-9
    steps = np.histogram(shares, 4, np.log([0.08, 0.26]))[0] / len(shares)
    assert np.abs(steps - 0.25).max() < 0.08, "as many half as twice as large"
    for values, ends in ((turns, (-0.45, 0.45)), (shares, np.log([0.08, 0.26]))):
        span = ends[1] - ends[0]
        assert ends[0] - 1e-9 <= values.min() < ends[0] + 0.03 * span
        assert ends[1] - 0.03 * span < values.max() <= ends[1] + 1e-9
    places = (middles / sizes[:, None] - 0.6) / (SIDE / sizes[:, None] - 1.2)
    assert 0 <= places.min() < 0.02
    assert 0.98 < places.max() <= 1
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.2, "x and y are two draws"


def test_two_to_six_objects_of_all_colours_and_shapes():
    drawn = draw(40)
    assert set(Counter(len(each.objects) for each in drawn)) == {2, 3, 4, 5, 6}
    names = [name for each in drawn for name in each.result.names if name not in STUFF]
    assert {name.split()[0] for name in names} == set(COLORS)
    few = frozenset({"red star", "blue cross", "pink heart", "sky", "sand"})
    found = {
        name
        for seed in range(12)
        for name in render_scene(np.random.default_rng(seed), TILES, SIDE, few).names
    }
    assert found == few


def test_the_ground_has_the_colour_of_its_class_and_noise():
    residues = []
    for drawing in draw(25):
        result = drawing.result
        shown = np.isin(result.ids, range(1, drawing.objects[0].num_stuff + 1))
        is_free = ~ndimage.binary_dilation(~shown, iterations=8)
        for number in range(1, drawing.objects[0].num_stuff + 1):
            pixels = result.image[is_free & (result.ids == number)].astype(float)
            if len(pixels) < 100:
                continue
            color = TILES[result.names[number - 1]][0, 0].astype(float)
            light = pixels.mean(0) @ color / (color @ color)
            assert 0.84 < light < 1.13
            residues.append(pixels - light * color)
    residues = np.concatenate(residues)
    assert np.abs(residues.mean(0)).max() < 0.6
    assert np.abs(residues.std(0) - 2.0).max() < 0.1


def test_objects_have_their_colour_under_a_pattern():
    """Inside it is the colour times a brightness that is the same for red, green and blue."""
    checked = 0
    for drawing in draw(25):
        stuff = drawing.objects[0].num_stuff
        for number, each in enumerate(placed(drawing), stuff + 1):
            body = ndimage.binary_erosion(drawing.result.ids == number, iterations=2)
            pixels = drawing.result.image[body].astype(float)
            if len(pixels) < 20:
                continue
            color = np.array(each.color, float)
            shades = pixels @ color / (color @ color)
            assert 0.65 < shades.mean() < 1.12
            rest = pixels.mean(0) - np.minimum(shades.mean() * color, 255)
            assert np.abs(rest).max() < 25, "a tint of a few grey levels"
            checked += 1
    assert checked > 20


def test_black_and_white_are_the_ends_of_grey():
    """Noise beyond them is cut off."""
    seen = set()
    for shade in (0, 255):
        tiles = {name: np.full_like(tile, shade) for name, tile in TILES.items()}
        for seed in range(4):
            result = render_scene(np.random.default_rng(seed), tiles, SIDE, ALL)
            things = result.ids > sum(name in STUFF for name in result.names)
            is_free = ~ndimage.binary_dilation(things, iterations=8)
            ground = result.image[is_free]
            assert ground.max() < 12 if shade == 0 else ground.min() > 200
            seen.update(ground.ravel().tolist())
    assert {0, 1, 254, 255} <= seen


GALLERY = {  # docs/images/gallery_shapes.jpg: percent in the legend; x, y of the middle
    "sky": (27.3, 64, 17),
    "brick": (26.8, None, None),
    "red star": (2.1, 18, 101),
    "purple cross": (2.7, 43, 117),
    "pink circle": (4.8, None, None),
    "purple square": (14.2, 74, 79),
}


def test_the_scene_of_the_gallery_is_the_one_that_its_seed_gives():
    """00004 of Shapes' val, as a model has found it in the picture."""
    tiles = {name: np.repeat(np.repeat(tile, 3, 0), 3, 1) for name, tile in TILES.items()}
    result = render_scene(np.random.default_rng([2, 1, 4]), tiles, 128, ALL)
    assert {*GALLERY, "sand"} == set(result.names)
    for name, (percent, x, y) in GALLERY.items():
        mask = result.ids == result.names.index(name) + 1
        assert abs(100 * mask.mean() - percent) < 1, name
        if x is not None:
            assert np.abs(np.subtract(ndimage.center_of_mass(mask), (y, x))).max() < 2, name


CAPTIONS = {
    "a view of sky and sand": ((), ("sky", "sand")),
    "a view of brick": ((), ("brick",)),
    "an orange star in front of sky": (("orange star",), ("sky",)),
    "2 red crosses in front of sky, brick and sand": (
        ("red cross", "red cross"),
        ("sky", "brick", "sand"),
    ),
    "a pink circle, 3 blue stars and an orange cross in front of brick and grass": (
        ("pink circle", *("blue star",) * 2, "orange cross", "blue star"),
        ("brick", "grass"),
    ),
}


@pytest.mark.parametrize(("text", "given"), CAPTIONS.items(), ids=CAPTIONS)
def test_captions_count_and_list(text, given):
    assert scene._caption(*given) == text

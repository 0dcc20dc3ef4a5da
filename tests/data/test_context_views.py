"""Views by hand: what they show, side by side and cut; their geometry and colours."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as torchvision_functional

from detectron2.data import transforms as T
from freeseg.data.augmentation import (
    ColorJitterTransform,
    RandomColorJitter,
    RandomResizedCrop,
    random_part,
)
from freeseg.data.context_views import View, cropped, in_grid

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def view(rows: list[str], ids: str, colour: int) -> View:
    """Of letters, one object each; "?" is void, "." background. Labels are ten times the ids."""
    letters = np.array([list(row) for row in rows])
    numbers = np.array([ord(one) - ord("a") for one in ids], dtype=np.int64)
    masks = np.stack([letters == one for one in ids])
    image = np.full((*letters.shape, 3), colour, dtype=np.uint8)
    return View(image, numbers, 10 * numbers, masks, letters == "?")


def letters_of(one: View) -> list[str]:
    letters = np.where(one.is_void, "?", ".")
    for number, mask in zip(one.ids, one.masks):
        letters[mask] = chr(ord("a") + number)
    return ["".join(row) for row in letters]


CELLS = [
    view(["ab", "a?"], "ab", 10),
    view(["..", ".b"], "b", 20),
    view(["cc", "??"], "c", 30),
    view(["a.", ".c"], "ac", 40),
]


def test_a_grid_has_the_objects_of_its_cells_by_their_ids():
    grid = in_grid(CELLS)
    assert letters_of(grid) == ["ab..", "a?.b", "cca.", "??.c"]
    assert grid.ids.tolist() == [0, 1, 2]
    assert grid.labels.tolist() == [0, 10, 20]
    assert grid.image[..., 0].tolist() == [[10, 10, 20, 20]] * 2 + [[30, 30, 40, 40]] * 2
    assert letters_of(in_grid(CELLS[:1])) == ["ab", "a?"]


def test_a_cut_view_has_what_is_left_of_its_objects():
    class Cut(T.Augmentation):
        def get_transform(self, image):
            return T.TransformList([T.CropTransform(2, 1, 2, 2), T.ResizeTransform(2, 2, 4, 4)])

    cut = cropped(in_grid(CELLS), Cut())
    assert letters_of(cut) == ["..bb", "..bb", "aa..", "aa.."]
    assert cut.ids.tolist() == [0, 1]
    assert cut.image.shape == (4, 4, 3)


def test_what_is_seen_fills_a_share_of_the_view():
    grid = in_grid(CELLS)  # a: 3 of 16, b: 2, c: 3
    assert grid.seen(0) == {0, 1, 2}
    assert grid.seen(3 / 16) == {0, 2}
    assert letters_of(grid.only([2, 1])) == [".b..", ".?.b", "cc..", "??.c"]
    assert grid.only([2, 1]).labels.tolist() == [10, 20]


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="2 ids, 2 labels, 1 masks of a view"):
        View(IMAGE, CELLS[0].ids, CELLS[0].labels, CELLS[0].masks[:1], CELLS[0].is_void)


# geometry


def test_views_are_what_pillow_cuts_and_resizes():
    crop = RandomResizedCrop(16, (0.3, 1.0))
    np.random.seed(4)
    left, top, width, height = random_part((0, 0, 36, 24), (0.3, 1.0))
    np.random.seed(4)
    transforms = crop.get_transform(IMAGE)
    box = (left, top, left + width, top + height)
    assert (width, height) != (36, 24)
    part = Image.fromarray(IMAGE).crop(box).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.array_equal(transforms.apply_image(IMAGE), np.asarray(part))
    labels = IMAGE[..., 0]
    nearest = Image.fromarray(labels).crop(box).resize((16, 16), Image.Resampling.NEAREST)
    assert np.array_equal(transforms.apply_segmentation(labels), np.asarray(nearest))


def test_parts_have_areas_and_shapes_of_their_ranges():
    np.random.seed(0)
    parts = [random_part((3, 5, 400, 300), (0.3, 0.9), (0.5, 2.0)) for _ in range(2000)]
    assert all(x >= 3 and y >= 5 and x + w <= 403 and y + h <= 305 for x, y, w, h in parts)
    areas = np.array([w * h / 120000 for _, _, w, h in parts])
    shapes = np.array([w / h for _, _, w, h in parts])
    assert 0.295 < areas.min() < 0.32
    assert 0.82 < areas.max() < 0.905
    assert 0.49 < shapes.min() < 0.55
    assert 1.9 < shapes.max() < 2.03


def test_a_part_that_does_not_fit_is_the_whole():
    assert random_part((1, 2, 100, 10), (1.0, 1.0), (1.0, 1.0)) == (1, 2, 100, 10)


# colours


@pytest.mark.parametrize("number", range(4), ids=["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("amount", [-0.08, 0.0, 0.05])
def test_changes_are_those_of_torchvision(number, amount):
    name = ("brightness", "contrast", "saturation", "hue")[number]
    value = amount if name == "hue" else 1 + 4 * amount
    adjust = getattr(torchvision_functional, f"adjust_{name}")
    expected = np.asarray(adjust(Image.fromarray(IMAGE), value)).astype(int)
    found = ColorJitterTransform([(number, value)]).apply_image(IMAGE).astype(int)
    least = 6 if name == "hue" else 0  # a step of hue in 256, which torchvision counts in 255
    assert np.abs(found - expected).max() <= least
    assert amount == 0 or np.abs(found - IMAGE.astype(int)).max() > 8


def test_a_third_of_a_turn_makes_red_green():
    red = np.full((2, 2, 3), (200, 0, 0), dtype=np.uint8)
    assert np.abs(ColorJitterTransform([(3, 1 / 3)]).apply_image(red)[0, 0] - (0, 200, 0)).max() < 4


def test_jitter_draws_in_its_ranges_and_in_any_order():
    jitter = RandomColorJitter((0.4, 0.3, 0.2, 0.1), 0.5)
    random.seed(0)
    drawn = [jitter.get_transform(IMAGE) for _ in range(3000)]
    changed = [each for each in drawn if isinstance(each, ColorJitterTransform)]
    assert 1400 < len(changed) < 1600
    assert len({tuple(number for number, _ in each.changes) for each in changed}) == 24
    values = np.array([[dict(each.changes)[number] for number in range(4)] for each in changed])
    for column, (middle, reach) in zip(values.T, ((1, 0.4), (1, 0.3), (1, 0.2), (0, 0.1))):
        assert np.abs(column - middle).max() <= reach
        assert column.min() < middle - 0.95 * reach
        assert column.max() > middle + 0.95 * reach


def test_annotation_keeps_its_place_and_values():
    change = ColorJitterTransform([(0, 0.5)])
    labels = torch.arange(6).view(2, 3).numpy()
    assert change.apply_segmentation(labels) is labels
    assert change.apply_coords(labels) is labels

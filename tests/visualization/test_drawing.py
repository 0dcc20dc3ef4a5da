"""Fills, contours and captions change the pixels they should, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from freeseg.visualization.captions import place_captions
from freeseg.visualization.drawing import FILL_OPACITY, draw_segments
from freeseg.visualization.drawn_segments import DrawnSegment, cut_out, segments_of_map
from freeseg.visualization.palette import mix

RED, BLUE = (230, 46, 46), (10, 60, 220)
NOISE = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def region(rows: slice, columns: slice, color=RED, caption="") -> DrawnSegment:
    mask = np.zeros(NOISE.shape[:2], dtype=bool)
    mask[rows, columns] = True
    return cut_out(mask, 0, color, caption)


def blended(color) -> np.ndarray:
    return NOISE * (1 - FILL_OPACITY) + np.array(color) * FILL_OPACITY


def test_no_regions_change_nothing() -> None:
    np.testing.assert_array_equal(draw_segments(NOISE, [], 12), NOISE)


def test_the_photo_is_not_written_to() -> None:
    before = NOISE.copy()
    draw_segments(NOISE, [region(slice(0, 60), slice(0, 80), caption="sky")], 12)
    np.testing.assert_array_equal(NOISE, before)


def test_only_the_region_and_its_contour_change() -> None:
    picture = draw_segments(NOISE, [region(slice(30, 70), slice(40, 100))], 12)
    outside = np.ones(NOISE.shape[:2], dtype=bool)
    outside[28:72, 38:102] = False  # the contour is one pixel wide, smoothed over its neighbours
    np.testing.assert_array_equal(picture[outside], NOISE[outside])
    inside = np.s_[33:67, 43:97]
    np.testing.assert_allclose(picture[inside], blended(RED)[inside], atol=1)
    line = mix(RED, (255, 255, 255), 0.45)
    far_from_line = np.abs(picture[30, 50:90].astype(int) - line)
    assert far_from_line.max() < 40  # all but opaque: the noise spans 128 levels in a fill
    assert far_from_line.mean() < 15


def test_the_smaller_region_is_on_top_whatever_the_order() -> None:
    large, small = region(slice(0, 120), slice(0, 160)), region(slice(50, 70), slice(60, 90), BLUE)
    one, other = draw_segments(NOISE, [large, small], 12), draw_segments(NOISE, [small, large], 12)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(one[55:65, 65:85], blended(BLUE)[55:65, 65:85], atol=1)


def test_a_caption_changes_only_its_box() -> None:
    with_text = region(slice(20, 100), slice(20, 140), caption="river")
    without = draw_segments(NOISE, [region(slice(20, 100), slice(20, 140))], 12)
    picture = draw_segments(NOISE, [with_text], 12)
    [caption] = place_captions([with_text], NOISE.shape[:2], 12)
    rows = slice(caption.top, caption.top + caption.height)
    columns = slice(caption.left, caption.left + caption.width)
    is_changed = (picture != without).any(axis=-1)
    assert is_changed[rows, columns].mean() > 0.9
    is_changed[rows, columns] = False
    assert not is_changed.any()
    assert (picture[rows, columns] >= 250).all(axis=-1).sum() > 20  # white letters


def test_cut_out_keeps_every_pixel() -> None:
    mask = np.random.default_rng(1).random((40, 50)) < 0.02
    found = cut_out(mask, 3, RED, "x")
    back = np.zeros_like(mask)
    back[found.box] = found.mask
    np.testing.assert_array_equal(back, mask)
    assert found.area == mask.sum()
    assert cut_out(np.zeros((4, 4), dtype=bool), 3, RED, "x") is None


@pytest.mark.parametrize("factor", [1, 3])
def test_enlarged_regions_are_the_enlarged_mask(factor: int) -> None:
    mask = np.random.default_rng(2).random((9, 7)) < 0.3
    large = cut_out(mask, 0, RED, "x").enlarged(factor)
    back = np.zeros((9 * factor, 7 * factor), dtype=bool)
    back[large.box] = large.mask
    np.testing.assert_array_equal(back, np.kron(mask, np.ones((factor, factor), dtype=bool)))


def test_regions_of_a_map_are_its_known_ids() -> None:
    id_map = np.array([[300, 300, 7], [5, 5, 0]], dtype=np.int32)
    regions = segments_of_map(id_map, {300: 1, 5: 1, 9: 0}, [BLUE, RED])
    assert set(regions) == {300, 5}
    assert regions[300].area == 2
    assert regions[5].color == RED  # the first of its class has the class colour
    assert regions[300].color != RED
    np.testing.assert_array_equal(id_map[regions[300].box] == 300, regions[300].mask)

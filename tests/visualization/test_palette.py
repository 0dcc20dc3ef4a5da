"""Class colours are far apart, stable, and never grey."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from freeseg.visualization.palette import FIRST_COLOR, class_colors, mix, shade


def lab(colors) -> np.ndarray:
    return cv2.cvtColor(np.float32([colors]) / 255, cv2.COLOR_RGB2LAB)[0]


def nearest_distances(colors) -> np.ndarray:
    points = lab(colors)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    return distances.min(axis=1)


def test_the_first_colors_do_not_depend_on_the_number_of_classes() -> None:
    assert class_colors(171)[:20] == class_colors(20)
    assert class_colors(1) == class_colors(2)[:1]
    assert class_colors(0) == ()


@pytest.mark.parametrize(("num_classes", "least"), [(11, 45), (20, 33), (60, 19), (171, 10)])
def test_no_two_classes_look_alike(num_classes: int, least: float) -> None:
    # CIELAB: 2.3 is a just noticeable difference
    assert nearest_distances(class_colors(num_classes)).min() >= least


def test_each_color_is_the_farthest_left() -> None:
    """The gap to the colours before never grows: what farthest-first choice means."""
    points = lab(class_colors(60))
    gaps = [np.linalg.norm(points[:i] - points[i], axis=1).min() for i in range(1, 60)]
    assert all(later <= earlier + 1e-3 for earlier, later in itertools.pairwise(gaps))


def test_no_color_is_grey_black_or_white() -> None:
    lightness, a, b = lab(class_colors(171)).T
    assert np.hypot(a, b).min() >= 37.9
    assert lightness.min() >= 37.9
    assert lightness.max() <= 86.1


def test_the_first_color_is_near_the_one_wanted() -> None:
    assert np.abs(np.subtract(class_colors(1)[0], FIRST_COLOR)).max() <= 12


def test_more_classes_than_colors_repeat_the_sequence() -> None:
    colors = class_colors(3000)
    period = next(i for i in range(1, 3000) if colors[i] == colors[0])
    assert period > 500
    assert len(set(colors)) == period
    assert colors[period : 2 * period] == colors[:period]


def test_shades_keep_the_class_recognisable_and_differ() -> None:
    color = class_colors(1)[0]
    shades = [shade(color, index) for index in range(7)]
    assert shades[0] == color
    assert len(set(shades)) == 7
    assert shade(color, 7) == shades[0]
    hues = cv2.cvtColor(np.float32([shades]) / 255, cv2.COLOR_RGB2HSV)[0, :, 0]
    assert np.ptp(hues) < 10


def test_mix_moves_between_its_ends() -> None:
    assert mix((0, 100, 200), (255, 255, 255), 0) == (0, 100, 200)
    assert mix((0, 100, 200), (255, 255, 255), 1) == (255, 255, 255)
    assert mix((0, 100, 200), (100, 200, 0), 0.5) == (50, 150, 100)

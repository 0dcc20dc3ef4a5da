"""The colour palette."""

from __future__ import annotations

import numpy as np
import pytest

from detectron2.utils.colormap import colormap, random_color, random_colors


def test_palette():
    colors = colormap(rgb=True, maximum=1)
    assert colors.shape == (74, 3)
    assert colors.dtype == np.float32
    assert colors.min() == 0
    assert colors.max() == 1
    assert colors[0] == pytest.approx([0.0, 0.447, 0.741])
    assert colors[30] == pytest.approx([0.333, 1.0, 0.5])
    assert colors[-2] == pytest.approx([0.857, 0.857, 0.857])


def test_order_and_scale():
    rgb = colormap(rgb=True, maximum=1)
    assert (colormap(rgb=False, maximum=1) == rgb[:, ::-1]).all()
    assert colormap(rgb=True) == pytest.approx(rgb * 255)
    with pytest.raises(AssertionError):
        colormap(maximum=100)


def test_random_color_is_from_the_palette():
    np.random.seed(0)
    palette = colormap(rgb=True, maximum=1).tolist()
    drawn = [random_color(rgb=True, maximum=1).tolist() for _ in range(20)]
    assert all(color in palette for color in drawn)
    assert len({tuple(color) for color in drawn}) > 5


def test_random_color_follows_numpy_seed():
    np.random.seed(3)
    first = random_color()
    np.random.seed(3)
    assert (random_color() == first).all()


def test_random_colors_use_each_entry_once():
    colors = random_colors(74, rgb=True, maximum=255)
    as_set = sorted(tuple(color) for color in colors)
    assert as_set == sorted(map(tuple, colormap(rgb=True)))
    with pytest.raises(ValueError, match="larger than population"):
        random_colors(75)

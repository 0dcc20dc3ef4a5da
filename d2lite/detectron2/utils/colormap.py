"""Distinguishable colours for drawing: Detectron's palette, greys thinned out."""

from __future__ import annotations

import random

import numpy as np

__all__ = ["colormap", "random_color", "random_colors"]

# One "r g b" triple per colour in thousandths of full intensity; the order is part of the API.
_PALETTE = """
0 447 741|850 325 98|929 694 125|494 184 556|466 674 188|301 745 933|635 78 184|300 300 300
600 600 600|1000 0 0|1000 500 0|749 749 0|0 1000 0|0 0 1000|667 0 1000|333 333 0|333 667 0
333 1000 0|667 333 0|667 667 0|667 1000 0|1000 333 0|1000 667 0|1000 1000 0|0 333 500|0 667 500
0 1000 500|333 0 500|333 333 500|333 667 500|333 1000 500|667 0 500|667 333 500|667 667 500
667 1000 500|1000 0 500|1000 333 500|1000 667 500|1000 1000 500|0 333 1000|0 667 1000|0 1000 1000
333 0 1000|333 333 1000|333 667 1000|333 1000 1000|667 0 1000|667 333 1000|667 667 1000
667 1000 1000|1000 0 1000|1000 333 1000|1000 667 1000|333 0 0|500 0 0|667 0 0|833 0 0|1000 0 0
0 167 0|0 333 0|0 500 0|0 667 0|0 833 0|0 1000 0|0 0 167|0 0 333|0 0 500|0 0 667|0 0 833|0 0 1000
0 0 0|143 143 143|857 857 857|1000 1000 1000
"""
_COLORS = np.array(
    [
        [int(channel) / 1000 for channel in triple.split()]
        for triple in _PALETTE.strip().replace("\n", "|").split("|")
    ],
    dtype=np.float32,
)  # [74, 3] RGB in 0..1


def colormap(rgb=False, maximum=255):
    """Return the whole palette, [N, 3] float32, BGR unless ``rgb``, scaled to ``maximum``.

    Args:
        rgb: channel order RGB instead of BGR.
        maximum: 255 or 1.
    """
    assert maximum in (255, 1), maximum
    return _ordered(_COLORS * maximum, rgb)


def random_color(rgb=False, maximum=255):
    """Return one colour [3], drawn with numpy's global generator."""
    return _ordered(_COLORS[np.random.randint(0, len(_COLORS))] * maximum, rgb)


def random_colors(N, rgb=False, maximum=255):  # noqa: N803, upstream's name
    """Return a list of ``N`` different colours, drawn with Python's global generator."""
    chosen = random.sample(range(len(_COLORS)), N)
    return [_ordered(_COLORS[index] * maximum, rgb) for index in chosen]


def _ordered(colors, rgb):
    return colors if rgb else colors[..., ::-1]

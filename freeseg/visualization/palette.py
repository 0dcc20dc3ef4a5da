"""Class colours: as different as can be, and the same on every run and machine.

Shapes: K classes.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

Color = tuple[int, int, int]  # RGB, 0..255

FIRST_COLOR: Color = (230, 46, 46)
_LEVELS = 12  # grid of candidates per channel
# In CIELAB units: neither as dark nor as light as text, and never so grey that it looks like photo.
_LIGHTNESS = (38.0, 86.0)
_MIN_CHROMA = 38.0

# How the parts of one class differ: share of white (above 0) or black (below 0) mixed in.
_SHADES = (0.0, 0.30, -0.26, 0.15, -0.13, 0.42, -0.36)


@lru_cache(maxsize=16)
def class_colors(num_classes: int) -> tuple[Color, ...]:
    """Returns one colour per class; the first n of them do not depend on how many are asked for.

    Each colour is the candidate farthest (in CIELAB) from all colours before it. When the
    candidates run out, after several hundred classes, the sequence repeats.
    """
    candidates = _candidates()
    lab = _to_lab(candidates)
    chosen = [int(np.argmin(_squared_distances(candidates, np.array(FIRST_COLOR))))]
    nearest = _squared_distances(lab, lab[chosen[0]])
    for _ in range(min(num_classes, len(candidates)) - 1):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _squared_distances(lab, lab[chosen[-1]]))
    colors = [tuple(int(level) for level in candidates[index]) for index in chosen]
    return tuple(colors[index % len(colors)] for index in range(num_classes))  # type: ignore[misc]


def shade(color: Color, index: int) -> Color:
    """Returns the variant of a class colour for the index-th segment of the class; 0 is itself."""
    amount = _SHADES[index % len(_SHADES)]
    return mix(color, (255, 255, 255) if amount > 0 else (0, 0, 0), abs(amount))


def mix(color: Color, other: Color, amount: float) -> Color:
    """Returns `color` moved towards `other`; 0 keeps it, 1 gives the other."""
    red, green, blue = (round(own + (target - own) * amount) for own, target in zip(color, other))
    return red, green, blue


def _candidates() -> npt.NDArray[np.uint8]:
    levels = np.linspace(0, 255, _LEVELS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = _to_lab(grid).T / 1000
    is_used = (lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])
    is_used &= np.hypot(a, b) >= _MIN_CHROMA
    return grid[is_used]


def _to_lab(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Returns CIELAB in thousandths; integers make ties, and so the choice, exact."""
    unit = colors.astype(np.float32)[None] / 255
    return np.rint(cv2.cvtColor(unit, cv2.COLOR_RGB2LAB)[0].astype(np.float64) * 1000).astype(
        np.int64
    )


def _squared_distances(
    points: npt.NDArray[np.generic], point: npt.NDArray[np.generic]
) -> npt.NDArray[np.int64]:
    difference = points.astype(np.int64) - point.astype(np.int64)
    return np.asarray((difference**2).sum(axis=1), dtype=np.int64)

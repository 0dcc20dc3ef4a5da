"""Textures of the ground (stuff) and of objects.

Shapes: H W size of a tile or patch; colours are float32 RGB in 0..255.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Generator = np.random.Generator


def noise(generator: Generator, size: tuple[int, int], cell: tuple[float, float]) -> Floats:
    """Smooth noise, mean 0 and deviation 1; `cell` is the (row, column) grain size (0: pixels)."""
    values = generator.standard_normal(size).astype(np.float32)
    if max(cell) > 0:
        values = cv2.GaussianBlur(values, (0, 0), sigmaX=cell[1], sigmaY=cell[0])
    return (values - values.mean()) / values.std()


def stuff_tiles(generator: Generator, side: int) -> dict[str, Floats]:
    """One large tile [side, side, 3] per stuff class, from which images cut their ground."""
    size = (side, side)
    return {
        "grass": _grass(generator, size),
        "sky": _sky(generator, size),
        "water": _water(generator, size),
        "sand": _sand(generator, size),
        "brick": _brick(generator, size),
    }


def object_pattern(generator: Generator, size: tuple[int, int]) -> Floats:
    """Brightness factors [H, W] of an object: plain, striped, dotted or checked, and shaded."""
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = generator.uniform(0, np.pi), generator.uniform(5, 9)
    along = (columns * np.cos(angle) + rows * np.sin(angle)) * (2 * np.pi / period)
    across = (rows * np.cos(angle) - columns * np.sin(angle)) * (2 * np.pi / period)
    kind = generator.integers(4)
    wave = {
        0: lambda: np.zeros(size, np.float32),
        1: lambda: np.sign(np.sin(along)),
        2: lambda: np.where(np.sin(along) + np.sin(across) > 1.0, 1.0, -0.3),
        3: lambda: np.sign(np.sin(along) * np.sin(across)),
    }[int(kind)]()
    light = 0.14 * (1.0 - (rows + columns) / max(height + width - 2, 1)) - 0.07  # from the top left
    return (1.0 - 0.1 + 0.1 * wave + light).astype(np.float32)


def _color(
    base: tuple[int, int, int], *layers: tuple[Floats, tuple[float, float, float]]
) -> Floats:
    """A base colour plus layers of noise, each with its strength per channel."""
    image: Any = np.array(base, np.float32)
    for values, strength in layers:
        image = image + values[..., None] * np.array(strength, np.float32)
    return np.clip(image, 0, 255).astype(np.float32)


def _grass(generator: Generator, size: tuple[int, int]) -> Floats:
    blades = noise(generator, size, (2.5, 0.6))
    patches = noise(generator, size, (14, 14))
    return _color((92, 122, 58), (blades, (18, 22, 12)), (patches, (8, 8, 3)))


def _sky(generator: Generator, size: tuple[int, int]) -> Floats:
    clouds = np.clip(noise(generator, size, (9, 22)), 0.2, 2.5) - 0.2
    haze = noise(generator, size, (40, 60))
    return _color((142, 184, 226), (clouds, (44, 30, 13)), (haze, (5, 4, 2)))


def _water(generator: Generator, size: tuple[int, int]) -> Floats:
    rows = np.arange(size[0], dtype=np.float32)[:, None]
    waves = np.sin(rows * (2 * np.pi / 8) + 2.2 * noise(generator, size, (5, 12)))
    glitter = np.clip(noise(generator, size, (0.7, 2.5)) - 1.3, 0, 2)
    return _color((48, 104, 136), (waves.astype(np.float32), (9, 13, 14)), (glitter, (50, 50, 46)))


def _sand(generator: Generator, size: tuple[int, int]) -> Floats:
    grains = noise(generator, size, (0, 0))
    dunes = noise(generator, size, (6, 26))
    return _color((204, 182, 138), (grains, (9, 9, 8)), (dunes, (9, 9, 10)))


def _brick(generator: Generator, size: tuple[int, int]) -> Floats:
    brick_height, brick_width = 9, 20
    rows, columns = np.indices(size)
    course = rows // brick_height
    shifted = columns + (course % 2) * (brick_width // 2)
    number = shifted // brick_width
    tint = generator.standard_normal((course.max() + 1, number.max() + 1)).astype(np.float32)
    grains = noise(generator, size, (0.6, 0.6))
    bricks = _color((148, 84, 66), (tint[course, number], (14, 9, 7)), (grains, (5, 5, 5)))
    is_mortar = (rows % brick_height < 1) | (shifted % brick_width < 1)
    mortar = _color((176, 168, 158), (grains, (5, 5, 5)))
    return np.where(is_mortar[..., None], mortar, bricks)

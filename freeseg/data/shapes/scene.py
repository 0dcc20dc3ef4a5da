"""Composes and renders one scene.

Shapes: S side of the square image in pixels, P points of an outline. Outlines are (x, y) in pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from freeseg.data.panoptic import IdMap
from freeseg.data.shapes.textures import Floats, Generator, object_pattern
from freeseg.data.shapes.vocabulary import COLORS, SHAPES, STUFF, thing_name

MAX_OBJECTS = 6
RADIUS = (0.08, 0.26)  # of an object, relative to the image side
MIN_VISIBLE = 0.4  # share of an object that later ones must leave visible
MAX_TRIES = 20
SUBPIXEL_BITS = 4

UPRIGHT = ("sky", "brick")  # what can stand behind a scene; the rest lies on the ground


@dataclass(frozen=True)
class Scene:
    """A rendered image with its exact panoptic annotation."""

    image: npt.NDArray[np.uint8]  # [S, S, 3] RGB
    ids: IdMap  # [S, S], 1..len(names); every pixel is labelled
    names: tuple[str, ...]  # class of each segment, stuff first
    caption: str


def render_scene(
    generator: Generator, tiles: Mapping[str, Floats], side: int, names: frozenset[str]
) -> Scene:
    """Draw a random scene in which only classes among `names` occur."""
    image, ids, stuff = _ground(generator, tiles, side, [name for name in STUFF if name in names])
    allowed = [
        (color, shape) for color in COLORS for shape in SHAPES if thing_name(color, shape) in names
    ]
    things: list[str] = []
    full_areas: list[int] = []
    for _ in range(int(generator.integers(2, MAX_OBJECTS + 1))):
        color, shape = allowed[int(generator.integers(len(allowed)))]
        alpha = _place(generator, shape, ids, len(stuff), full_areas)
        if alpha is None:
            continue
        _paint(generator, image, alpha, COLORS[color])
        things.append(thing_name(color, shape))
        full_areas.append(int((alpha > 0.5).sum()))
        ids[alpha > 0.5] = len(stuff) + len(things)
    image += 2.0 * generator.standard_normal(image.shape, dtype=np.float32)  # sensor noise
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return Scene(pixels, ids, (*stuff, *things), _caption(things, stuff))


def _ground(
    generator: Generator, tiles: Mapping[str, Floats], side: int, allowed: Sequence[str]
) -> tuple[Floats, IdMap, tuple[str, ...]]:
    """Two or three bands of stuff with wavy borders: something upright above, ground below."""
    upright = [name for name in allowed if name in UPRIGHT]
    flat = [name for name in allowed if name not in UPRIGHT]
    top = upright[int(generator.integers(len(upright)))]
    bands = [top, *generator.permutation(flat)[: int(generator.integers(1, 3))].tolist()]
    if top == "sky" and "brick" in allowed and generator.random() < 0.3:
        bands[1:1] = ["brick"]  # a wall under the sky
        del bands[3:]
    heights = np.cumsum(generator.uniform(0.7, 1.3, len(bands)))
    ids = np.ones((side, side), dtype=np.int32)
    rows, columns = np.indices((side, side))
    for number, border in enumerate(heights[:-1] / heights[-1], start=2):
        ids[rows >= border * side + _wave(generator, columns[0], side, bands[number - 1])] = number

    image = np.zeros((side, side, 3), np.float32)
    for number, name in enumerate(bands, start=1):
        region = ids == number
        image[region] = _cut(generator, tiles[name], side)[region]
    return image, ids, tuple(bands)


def _wave(
    generator: Generator, columns: npt.NDArray[np.int64], side: int, below: str
) -> npt.NDArray[np.float64]:
    """Height of a border over each column; the top of a wall is straight."""
    if below == "brick":
        return np.zeros(side)
    strength = 0.035 * side * generator.uniform(0.3, 1.0)
    phases, turns = generator.uniform(0, 2 * np.pi, 2), generator.uniform(0.5, 2.5, 2)
    angles = columns[:, None] / side * turns * 2 * np.pi + phases
    return strength * np.sin(angles).sum(axis=1)


def _cut(generator: Generator, tile: Floats, side: int) -> Floats:
    """A random window of a tile, perhaps mirrored, under a little different light."""
    top, left = generator.integers(0, tile.shape[0] - side, 2)
    window = tile[top : top + side, left : left + side]
    if generator.random() < 0.5:
        window = window[:, ::-1]
    return window * np.float32(generator.uniform(0.85, 1.12))


def _place(
    generator: Generator, shape: str, ids: IdMap, num_stuff: int, full_areas: Sequence[int]
) -> Floats | None:
    """Coverage [S, S] of an object that leaves enough of all earlier ones; None if none fits."""
    side = len(ids)
    for _ in range(MAX_TRIES):
        radius = side * np.exp(generator.uniform(np.log(RADIUS[0]), np.log(RADIUS[1])))
        center = generator.uniform(0.6 * radius, side - 0.6 * radius, 2)  # may leave the image
        points = outline(shape) * radius
        angle = generator.uniform(-0.45, 0.45)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        alpha = _fill(points @ turn + center, side)
        covered = np.bincount(ids[alpha <= 0.5], minlength=num_stuff + len(full_areas) + 1)
        left = covered[1:]
        stuff_stays = (left[:num_stuff] > 0).all()
        things_stay = (left[num_stuff:] >= MIN_VISIBLE * np.array(full_areas)).all()
        if stuff_stays and things_stay and (alpha > 0.5).any():
            return alpha
    return None


def _fill(points: npt.NDArray[np.float64], side: int) -> Floats:
    coverage = np.zeros((side, side), np.uint8)
    fixed = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(coverage, [fixed], 255, lineType=cv2.LINE_AA, shift=SUBPIXEL_BITS)
    return coverage.astype(np.float32) / np.float32(255)


def _paint(generator: Generator, image: Floats, alpha: Floats, color: tuple[int, int, int]) -> None:
    """Blend an object into the image: a soft shadow, the textured body, a darker rim."""
    side = len(image)
    offset = max(1, side // 48)
    x, y, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    margin = 4 * offset  # the shadow reaches beyond the object
    window = (
        slice(max(0, y - margin), y + height + margin),
        slice(max(0, x - margin), x + width + margin),
    )
    image, alpha = image[window], alpha[window]  # views: the rest of the image stays

    moved = np.zeros_like(alpha)
    moved[offset:, offset:] = alpha[:-offset, :-offset]
    shadow = cv2.GaussianBlur(moved, (0, 0), side / 64)
    image *= (1.0 - 0.35 * shadow * (1.0 - alpha))[..., None]

    tint = np.array(color, np.float32) + generator.normal(0, 5, 3).astype(np.float32)
    inside = cv2.erode(alpha, np.ones((3, 3), np.uint8))
    brightness = object_pattern(generator, alpha.shape) * (0.72 + 0.28 * inside)
    body = tint * brightness[..., None]
    image += alpha[..., None] * (body - image)


def outline(shape: str) -> npt.NDArray[np.float64]:
    """Outline [P, 2] of a shape with radius about 1 around the origin, y down."""
    if shape == "circle":
        return _polar(np.linspace(0, 2 * np.pi, 48, endpoint=False), np.ones(48)) * 0.9
    if shape == "square":
        return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.8
    if shape == "triangle":
        return _polar(np.arange(3) * 2 * np.pi / 3, np.ones(3)) + np.array([0, 0.15])
    if shape == "star":
        return _polar(np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, 0.45, 1.1))
    if shape == "cross":
        arm, width = 0.95, 0.34
        quarter = np.array([[-width, -arm], [width, -arm], [width, -width]])
        turn = np.array([[0, 1], [-1, 0]])  # a quarter turn of row vectors
        return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])
    if shape == "heart":
        t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([x, -y], axis=1) / 16.5
    raise ValueError(f"unknown shape {shape!r}; known shapes are {', '.join(SHAPES)}")


def _polar(
    angles: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Points at angles clockwise from the top."""
    return np.stack([radii * np.sin(angles), -radii * np.cos(angles)], axis=1)


def _caption(things: Sequence[str], stuff: Sequence[str]) -> str:
    """One sentence: what is in the scene, and where."""
    objects = [
        f"{count} {_plural(name)}" if count > 1 else f"{_article(name)} {name}"
        for name, count in Counter(things).items()
    ]
    place = _listing(list(stuff))
    return f"{_listing(objects)} in front of {place}" if objects else f"a view of {place}"


def _article(name: str) -> str:
    return "an" if name[0] in "aeiou" else "a"


def _plural(name: str) -> str:
    return f"{name}es" if name.endswith("s") else f"{name}s"


def _listing(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]

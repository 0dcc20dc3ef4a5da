"""Strokes that people draw on objects.

Shapes: N masks, H W photo size, V vertices of a path, S places along it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from freeseg.training.prompts.draws import Generators, draw_whole, pick_pixels, require_masks


@dataclass(frozen=True)
class _Kind:
    """A kind of stroke: how many pixels of the mask make its path, and how wide the brush is."""

    num_vertices: int
    path: Callable[[Tensor, int], Tensor]  # vertices [V, 2], longest side in pixels -> [S, 2]
    widths: tuple[int, int]


def scribble(masks: Tensor, generator: Generators, kind: str) -> Tensor:
    """A stroke on each mask: pixels of it, drawn with a round brush of random width.

    The kinds follow what SEEM trains with (arXiv 2304.06718): "line" is straight, "curve" a cubic
    Bezier curve, "polygon" the outline of five corners, all with vertices that are uniform in the
    mask and brushes of 3 to 10 pixels; "circle" is one dab of a brush of 10 to 50. What leaves the
    mask is cut off.

    Args:
        masks: Bool [N, H, W].
        generator: One, or one for each mask.
        kind: One of `STROKES`.

    Returns:
        Bool [N, H, W]; never empty but where the mask is.

    Raises:
        ValueError: The kind is unknown; lists the known ones.
    """
    require_masks(masks)
    if kind not in _KINDS:
        raise ValueError(f"no stroke of the kind {kind!r}; known ones are {', '.join(STROKES)}")
    row = _KINDS[kind]
    numbers = draw_whole(generator, masks, row.num_vertices + 1)
    least, most = row.widths
    widths = (least + numbers[:, 0] % (most - least + 1)).tolist()
    vertices = pick_pixels(masks, numbers[:, 1:])  # [N, V, 2]
    strokes = torch.zeros_like(masks)
    for stroke, corners, width in zip(strokes, vertices.float(), widths):
        _paint(stroke, row.path(corners, max(masks.shape[1:])), width)
    return strokes & masks


def _paint(picture: Tensor, path: Tensor, width: int) -> None:
    """Sets the pixels of a picture [H, W] that a round brush covers along a path [S, 2].

    A pixel is covered whose centre is at most half the width from that of a pixel of the path.
    """
    reach = width // 2
    steps = torch.arange(-reach, reach + 1, device=path.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    brush = torch.stack([x, y], dim=-1)[4 * (x**2 + y**2) <= width**2]  # [D, 2]
    pixels = (path.round().long()[:, None] + brush).flatten(0, 1)  # [S * D, 2]
    height, width = picture.shape
    column, row = pixels.unbind(1)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    picture[row[inside], column[inside]] = True


def _lines(vertices: Tensor, side: int) -> Tensor:
    """Straight from each vertex to the next, in steps of at most a pixel along either axis."""
    share = torch.linspace(0, 1, side + 1, device=vertices.device)[:, None, None]  # [S, 1, 1]
    return vertices[:-1].lerp(vertices[1:], share).flatten(0, 1)


def _outline(vertices: Tensor, side: int) -> Tensor:
    return _lines(torch.cat([vertices, vertices[:1]]), side)


def _curve(vertices: Tensor, side: int) -> Tensor:
    """The Bezier curve of its vertices, by de Casteljau's algorithm.

    Its speed is at most the number of its legs times the longest leg.
    """
    legs = len(vertices) - 1
    share = torch.linspace(0, 1, legs * side + 1, device=vertices.device)[:, None, None]
    points = vertices[None].expand(len(share), -1, -1)  # [S, V, 2]
    for _ in range(legs):
        points = points[:, :-1].lerp(points[:, 1:], share)
    return points[:, 0]


def _dab(vertices: Tensor, side: int) -> Tensor:
    return vertices


PEN, BRUSH = (3, 10), (10, 50)  # widths in pixels
_KINDS: Mapping[str, _Kind] = {
    "line": _Kind(2, _lines, PEN),
    "curve": _Kind(4, _curve, PEN),
    "polygon": _Kind(5, _outline, PEN),
    "circle": _Kind(1, _dab, BRUSH),
}
STROKES = tuple(_KINDS)

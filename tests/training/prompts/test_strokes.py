"""Strokes lie in their masks, and are what a brush leaves along a path: by brute force."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from freeseg.training.prompts import STROKES, scribble
from freeseg.training.prompts.draws import draw_whole, pick_pixels

kinds = pytest.mark.parametrize("kind", STROKES)


@kinds
def test_a_stroke_lies_in_its_mask_and_is_never_empty(kind, blobs, seeded):
    masks = blobs(50)
    masks[7] = False
    for seed in range(4):
        strokes = scribble(masks, *seeded(seed), kind)
        assert strokes.dtype == torch.bool
        assert not (strokes & ~masks).any()
        assert strokes.flatten(1).any(1).tolist() == [row != 7 for row in range(50)]


@kinds
@pytest.mark.parametrize("size", [(80, 60), (6, 250), (250, 6)])
def test_a_stroke_is_in_one_piece_where_nothing_is_cut_off(kind, size, seeded):
    full = torch.ones(30, *size, dtype=torch.bool)
    for stroke in scribble(full, *seeded(0), kind).numpy():
        assert ndimage.label(stroke, structure=[[1] * 3] * 3)[1] == 1


def drawn(masks, seed, kind):
    """Widths [N] and vertices [N, V, 2], as the generator gives them."""
    count = {"line": 2, "curve": 4, "polygon": 5, "circle": 1}[kind]
    least, most = (10, 50) if kind == "circle" else (3, 10)
    numbers = draw_whole(torch.Generator().manual_seed(seed), masks, count + 1)
    widths = least + numbers[:, 0] % (most - least + 1)
    return widths.tolist(), pick_pixels(masks, numbers[:, 1:]).double()


def points_of(kind, vertices):
    """Many points of the ideal path, by Bernstein's polynomials and straight lines."""
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)[:, None]
    if kind == "circle":
        return vertices
    if kind == "curve":
        a, b, c, d = vertices
        return (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
    ends = vertices[1:] if kind == "line" else vertices.roll(-1, 0)
    return torch.cat([(1 - t) * start + t * end for start, end in zip(vertices, ends)])


@kinds
def test_a_stroke_is_what_is_within_half_its_width_of_its_path_and_in_the_mask(kind, seeded):
    """Up to the rounding of the path to pixels, of at most 0.71."""
    masks = torch.ones(12, 70, 90, dtype=torch.bool)
    masks[6:, 20:] = False
    strokes = scribble(masks, *seeded(5), kind)
    y, x = torch.meshgrid(torch.arange(70.0), torch.arange(90.0), indexing="ij")
    centres = torch.stack([x, y], dim=-1).flatten(0, 1).double()  # [H * W, 2]
    for mask, stroke, width, vertices in zip(masks, strokes, *drawn(masks, 5, kind)):
        distance = torch.cdist(centres, points_of(kind, vertices)).amin(1).view(70, 90)
        assert stroke[mask & (distance <= width / 2 - 0.75)].all()
        assert not stroke[~mask | (distance > width / 2 + 0.75)].any()


def test_dabs_have_all_widths_of_their_range_and_no_others(seeded):
    full = torch.ones(1500, 101, 101, dtype=torch.bool)
    dabs = scribble(full, *seeded(2), "circle")
    is_whole = (drawn(full, 2, "circle")[1][:, 0] - 50).abs().amax(1) <= 25
    steps = torch.arange(-50, 51)
    squares = steps[:, None] ** 2 + steps**2
    areas = {int((4 * squares <= width**2).sum()) for width in range(10, 51)}
    assert len(areas) > 35
    assert set(dabs[is_whole].sum((1, 2)).tolist()) == areas


def test_an_unknown_kind_is_refused_with_the_known_ones(blobs, seeded):
    with pytest.raises(ValueError, match="'spiral'; known ones are line, curve, polygon, circle"):
        scribble(blobs(1), *seeded(0), "spiral")

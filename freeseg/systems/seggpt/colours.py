"""The colour book: which colour stands for which object, and what a painting says.

Shapes: M objects, A photos' colours, H W size of a picture. Distances are Euclidean in RGB, 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
STEPS = 6  # of every channel, among which colours are chosen
LEAST_CHROMA = 100.0  # largest channel less the smallest one
MOST_COLOURS = 180  # of the steps' cube, with so much chroma
COMMON = 0.05  # share of a photo's pixels from which on it has a colour
PHOTO_WEIGHT = 2.0  # nearness to a photo's colour counts so much less than to another object's


def choose_colours(count: int, photos: Sequence[Tensor] = ()) -> Tensor:
    """Colours uint8 [count, 3] far from black, from each other, and from those of photos.

    A single object is white, as in the release. Several are colourful and chosen one after the
    other, each as far as can be from all before it; the same photos give the same colours.

    Args:
        count: M, at most `MOST_COLOURS`.
        photos: uint8 [3, H, W] each.

    Raises:
        ValueError: There are not so many colours.
    """
    if count > MOST_COLOURS:
        raise ValueError(f"there are {MOST_COLOURS} colours, got {count} objects")
    if count == 1:
        return torch.tensor([WHITE], dtype=torch.uint8)
    steps = torch.linspace(0, 255, STEPS)
    candidates = torch.cartesian_prod(steps, steps, steps)
    is_grey = candidates.amax(1) - candidates.amin(1) < LEAST_CHROMA
    nearest = (candidates - torch.tensor(BLACK)).norm(dim=1)
    common = [PHOTO_WEIGHT * torch.cdist(candidates, _common(photo)).amin(1) for photo in photos]
    chosen = []
    for _ in range(count):
        score = torch.stack([nearest, *common]).amin(0)
        score[(nearest == 0) | is_grey] = -1  # chosen before, or too like black and white
        chosen.append(int(score.argmax()))
        nearest = nearest.minimum((candidates - candidates[chosen[-1]]).norm(dim=1))
    return candidates[chosen].to(torch.uint8)


def _common(photo: Tensor) -> Tensor:
    """Colours [A, 3] that many pixels of a photo have, on the grid of candidates."""
    scale = 255 / (STEPS - 1)
    places = (photo.flatten(1).float() / scale).round().long()  # [3, H W]
    bins = (places[0] * STEPS + places[1]) * STEPS + places[2]
    share = bins.bincount(minlength=STEPS**3) / bins.numel()
    kept = (share >= min(COMMON, float(share.max()))).nonzero().flatten()
    digits = [kept // STEPS**2, kept // STEPS % STEPS, kept % STEPS]
    return torch.stack(digits, dim=1) * scale


def read_colours(painting: Tensor, colours: Tensor) -> tuple[Tensor, Tensor]:
    """What every pixel of a painting stands for: the colour of the book, black among it, nearest.

    Args:
        painting: Float [3, H, W], 0..255.
        colours: uint8 [M, 3].

    Returns:
        Objects int64 [H, W], -1 for none of them, and scores [H, W] in [0, 1]: the margin between
        the two nearest colours, of both their distances.
    """
    book = torch.cat([colours.new_zeros(1, 3), colours]).to(painting)
    pixels = painting.flatten(1).mT  # [H W, 3]
    nearest = torch.cdist(pixels, book, compute_mode="donot_use_mm_for_euclid_dist")
    two = nearest.topk(2, dim=1, largest=False)
    first, second = two.values.unbind(1)
    scores = (second - first) / (second + first).clamp(min=1e-6)
    size = painting.shape[-2:]
    return (two.indices[:, 0] - 1).view(size), scores.view(size)

"""Masks become pictures: random colours of objects, and flat paint on black.

Shapes: M masks, H W their size, S side of a square.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels in 0..1
FIRST_DISTANCE = 96.0  # of two colours, tried first; it shrinks where so many do not fit
TRIES = 50  # at one distance


def draw_colours(count: int, generator: torch.Generator) -> Tensor:
    """Random colours uint8 [count, 3], no two alike and none near black, the background's.

    They are uniform in the cube of colours but for what lies too near to black or to an earlier
    one, by their Euclidean distance.
    """
    colours = torch.zeros(1, 3)
    distance = FIRST_DISTANCE
    while len(colours) <= count:
        tried = torch.randint(256, (TRIES, 3), generator=generator).float()
        is_far = torch.cdist(tried, colours).amin(dim=1) >= distance
        if is_far.any():
            first = int(is_far.int().argmax())
            colours = torch.cat([colours, tried[first : first + 1]])
        else:
            distance = max(distance * 0.9, 1.0)  # 1: another colour, however near
    return colours[1:].to(torch.uint8)


def paint(masks: Tensor, colours: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks bool [M, H, W] in their colours uint8 [M, 3]: a picture uint8 [3, *size] on black.

    Later masks lie over earlier ones; a pixel is that of the masks at its centre, as Pillow's
    nearest has it.

    Raises:
        ValueError: There are more masks or more colours.
    """
    if colours.shape != (len(masks), 3):
        raise ValueError(f"{len(masks)} masks need colours [{len(masks)}, 3], got "
                         f"{tuple(colours.shape)}")  # fmt: skip
    picture = torch.zeros(3, *masks.shape[-2:], dtype=torch.uint8, device=masks.device)
    for mask, colour in zip(masks, colours.to(masks.device)):
        picture[:, mask] = colour[:, None]
    return nearest(picture, size)


def nearest(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Planes [C, H, W] of any type at a size, each pixel as it is where its centre falls."""
    if planes.shape[-2:] == size:
        return planes
    if not len(planes):
        return planes.new_zeros(0, *size)
    found = F.interpolate(planes[None].float(), size, mode="nearest-exact")
    return found[0].to(planes.dtype)


def normalised(pixels: Tensor) -> Tensor:
    """Pixels 0..255 [..., 3, H, W] as the network has them, float32, computed in float64."""
    mean, std = (
        torch.tensor(values, dtype=torch.float64, device=pixels.device)[:, None, None]
        for values in (IMAGE_MEAN, IMAGE_STD)
    )
    return ((pixels.double() / 255 - mean) / std).float()

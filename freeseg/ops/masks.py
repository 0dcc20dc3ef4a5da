"""Operators on masks: their areas and boxes, and masked crops of an image.

Shapes: N masks, H W image size, S side of a crop.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

CUBIC = -0.75  # slope parameter of PyTorch's bicubic kernel
RUN = 128  # pixels that are counted in one byte


def mask_areas(masks: Tensor) -> Tensor:
    """Pixels, int64 [N], of bool masks [N, H, W].

    Many times faster than ``sum``, which first writes every pixel as an int64: counts in bytes.
    """
    pixels = masks.flatten(1).view(torch.uint8)
    even = pixels.shape[1] // RUN * RUN
    runs = pixels[:, :even].unflatten(1, (-1, RUN)).sum(2, dtype=torch.uint8)
    return runs.sum(1) + pixels[:, even:].sum(1)


def mask_boxes(masks: Tensor) -> Tensor:
    """Float [N, 4] tight xyxy boxes in pixels of bool masks [N, H, W]; zeros for an empty mask."""
    sides = []
    for axis in (1, 2):  # over rows: columns that are hit; over columns: rows
        hit = masks.view(torch.uint8).amax(axis)  # many times faster than any()
        first = hit.argmax(1)
        last = hit.shape[1] - hit.flip(1).argmax(1)
        sides.append((first, last))
    (left, right), (top, bottom) = sides
    boxes = torch.stack([left, top, right, bottom], dim=1).float()
    return boxes * hit.amax(1)[:, None]


def masked_crops(image: Tensor, masks: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops of an image, zero outside the masks, resized bicubically with aligned corners.

    Equal to cutting each box out of ``image * mask`` and calling ``F.interpolate(mode="bicubic",
    align_corners=True)``, but for all boxes at once, and only pixels that are read are painted.

    Args:
        image: [C, H, W], already shifted so that 0 is what the background is filled with.
        masks: Bool [N, H, W].
        boxes: [N, 4], xyxy in whole pixels, not empty, inside the image.
        size: (height, width) of a crop.

    Returns:
        [N, C, *size].
    """
    left, top, right, bottom = boxes.to(image).unbind(1)
    numbers = torch.arange(len(masks), device=masks.device)[:, None]
    squeezed = image.new_zeros(len(image), len(masks), size[0], masks.shape[-1])  # [C, N, S, W]
    for row, weight in _bicubic_taps(top, bottom, size[0]):
        painted = masks[numbers, row] * weight[..., None]  # [N, S, W]
        squeezed.addcmul_(image[:, row], painted)
    crops = image.new_zeros(len(image), len(masks), *size)
    for column, weight in _bicubic_taps(left, right, size[1]):
        columns = column[None, :, None].expand_as(crops)
        crops.addcmul_(squeezed.gather(-1, columns), weight[:, None])
    return crops.transpose(0, 1)


def _bicubic_taps(start: Tensor, stop: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What is read to resample start..stop [N] of an axis to `size`; it ends at its borders.

    Yields:
        Four times indices and weights, both [N, size].
    """
    steps = torch.linspace(0, 1, size, dtype=start.dtype, device=start.device)
    place = start[:, None] + steps * (stop - start - 1)[:, None]  # [N, S]
    first = place.floor()
    offset = place - first
    for tap in (-1, 0, 1, 2):
        index = (first + tap).clamp(start[:, None], stop[:, None] - 1)
        yield index.long(), _cubic_kernel((offset - tap).abs())


def _cubic_kernel(distance: Tensor) -> Tensor:
    """Keys' convolution kernel at distances 0..2."""
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
    return torch.where(distance <= 1, near, far)

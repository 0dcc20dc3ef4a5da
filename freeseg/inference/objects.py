"""Masks of objects as a result, one for each, without other readings.

Shapes: N objects, H W size of the photo.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.ops import mask_boxes
from freeseg.structures import InstanceSet


def objects_of_masks(masks: Tensor, scores: Tensor, labels: Tensor | None = None) -> InstanceSet:
    """What N rows of a prompt are answered by.

    Args:
        masks: Bool [N, H, W], which may be empty.
        scores: [N] in [0, 1].
        labels: int64 [N]; None where they have no classes.
    """
    rows = torch.arange(len(masks), device=masks.device)
    boxes = mask_boxes(masks) if len(masks) else scores.new_zeros(0, 4)
    return InstanceSet(masks, boxes, labels, scores, owners=rows, choices=torch.zeros_like(rows))


def masks_at(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks bool [N, H, W] at a size [N, h, w], each pixel as it is where its centre falls.

    One that falls between all centres keeps the pixel around its own middle: it shows something.
    """
    if not len(masks):
        return masks.new_zeros(0, *size)
    found = F.interpolate(masks[None].float(), size, mode="nearest-exact")[0] > 0
    is_lost = masks.flatten(1).any(1) & ~found.flatten(1).any(1)
    for row in is_lost.nonzero().flatten().tolist():
        places = masks[row].nonzero()
        middle = places[len(places) // 2].tolist()
        top, left = (p * new // old for p, new, old in zip(middle, size, masks.shape[-2:]))
        found[row, top, left] = True
    return found

"""Masks of objects as a result, one for each, without other readings.

Shapes: N objects, H W size of the photo.
"""

from __future__ import annotations

import torch
from torch import Tensor

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

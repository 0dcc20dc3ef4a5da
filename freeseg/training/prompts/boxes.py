"""Boxes as people draw them: near those of masks.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from freeseg.ops.masks import mask_boxes
from freeseg.training.prompts.draws import Generators, draw_normal, require_masks

DEVIATION = 0.1  # of a coordinate, as a share of the side that it moves along
MOST_PIXELS = 20.0  # that a coordinate moves
MOST_SHARE = 0.45  # of the side: opposite sides never meet


def noisy_box(masks: Tensor, generator: Generators) -> Tensor:
    """The box of each mask with SAM's noise (arXiv 2304.02643, appendix A).

    Every coordinate moves by a normal number with a deviation of a tenth of the side, cut at 20
    pixels, and stays in the photo.

    Args:
        masks: Bool [N, H, W].
        generator: One, or one for each mask.

    Returns:
        Float32 [N, 4], xyxy in pixels; a row of NaN where the mask is empty.
    """
    require_masks(masks)
    boxes = mask_boxes(masks)  # [N, 4]
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    most = (MOST_SHARE * sides).clamp(max=MOST_PIXELS)
    noise = DEVIATION * sides * draw_normal(generator, masks, 4)
    moved = boxes + noise.clamp(-most, most)
    height, width = masks.shape[1:]
    limits = moved.new_tensor([width, height, width, height])
    return torch.where(sides > 0, moved.clamp(min=0).minimum(limits), torch.nan)

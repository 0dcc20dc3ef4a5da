"""Features of boxes, read from the level of a feature pyramid that fits their size.

Shapes: N images, M boxes of all images, C channels.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import nn

from detectron2._missing import missing
from detectron2.layers import ROIAlign, ROIAlignRotated

__all__ = ["ROIPooler"]

_POOLERS = {
    "ROIAlign": partial(ROIAlign, aligned=False),
    "ROIAlignV2": partial(ROIAlign, aligned=True),
    "ROIAlignRotated": ROIAlignRotated,
}


def assign_boxes_to_levels(box_lists, min_level, max_level, canonical_box_size, canonical_level):
    """Choose a level for every box: one coarser for each doubling of its side.

    Args:
        box_lists: Boxes of every image.
        min_level: finest level.
        max_level: coarsest level.
        canonical_box_size: side, in pixels, of boxes that belong to ``canonical_level``.
        canonical_level: see above.

    Returns:
        Levels [M], counted from ``min_level``.
    """
    sides = torch.cat([boxes.area() for boxes in box_lists]).sqrt()
    levels = torch.floor(canonical_level + torch.log2(sides / canonical_box_size + 1e-8))
    return levels.clamp(min_level, max_level).long() - min_level


def convert_boxes_to_pooler_format(box_lists):
    """Return all boxes in one tensor, [M, 5] or [M, 6], with the image's number before each."""
    boxes = torch.cat([per_image.tensor for per_image in box_lists])
    images = [torch.full((len(b), 1), i, dtype=boxes.dtype) for i, b in enumerate(box_lists)]
    return torch.cat([torch.cat(images).to(boxes.device), boxes], dim=1)


class ROIPooler(nn.Module):
    """Reads a grid of features inside every box."""

    def __init__(
        self,
        output_size,
        scales,
        sampling_ratio,
        pooler_type,
        canonical_box_size=224,
        canonical_level=4,
    ):
        """Set the grid and the pyramid.

        Args:
            output_size: side of the grid, or (height, width).
            scales: one over the stride of every level, fine to coarse.
            sampling_ratio: samples per grid cell and direction; 0 for one per feature.
            pooler_type: "ROIAlign", "ROIAlignV2" or "ROIAlignRotated".
            canonical_box_size: see :func:`assign_boxes_to_levels`.
            canonical_level: likewise.
        """
        super().__init__()
        if pooler_type == "ROIPool":
            raise missing("ROIPooler(pooler_type='ROIPool')")
        if pooler_type not in _POOLERS:
            raise ValueError(f"Unknown pooler type: {pooler_type}; known are {list(_POOLERS)}")
        self.output_size = (output_size,) * 2 if isinstance(output_size, int) else output_size
        assert len(self.output_size) == 2, f"output_size has two sides, not {output_size}"
        levels = [-math.log2(scale) for scale in scales]
        self.min_level, self.max_level = int(levels[0]), int(levels[-1])
        assert levels == list(range(self.min_level, self.max_level + 1)), (
            f"scales {scales} must be a pyramid: powers of two, each half the one before"
        )
        assert self.min_level >= 0, f"no scale is larger than one: {scales}"
        assert canonical_box_size > 0, canonical_box_size
        self.canonical_box_size = canonical_box_size
        self.canonical_level = canonical_level
        self.level_poolers = nn.ModuleList(
            _POOLERS[pooler_type](
                self.output_size, spatial_scale=scale, sampling_ratio=sampling_ratio
            )
            for scale in scales
        )

    def forward(self, x, box_lists):
        """Pool features.

        Args:
            x: list of maps [N, C, h, w], one per level.
            box_lists: list of Boxes, one per image, in image pixels.

        Returns:
            Features [M, C, *output_size].
        """
        assert isinstance(x, list), f"features come in a list, not {type(x)}"
        assert isinstance(box_lists, list), f"boxes come in a list, not {type(box_lists)}"
        assert len(x) == len(self.level_poolers), (
            f"{len(x)} feature maps for {len(self.level_poolers)} levels"
        )
        assert len(box_lists) == len(x[0]), f"boxes of {len(box_lists)} images for {len(x[0])}"
        if not box_lists:
            return x[0].new_zeros(0, x[0].shape[1], *self.output_size)
        boxes = convert_boxes_to_pooler_format(box_lists)
        if len(x) == 1:
            return self.level_poolers[0](x[0], boxes)
        levels = assign_boxes_to_levels(
            box_lists, self.min_level, self.max_level, self.canonical_box_size, self.canonical_level
        )
        pooled = x[0].new_zeros(len(boxes), x[0].shape[1], *self.output_size)
        for level, pooler in enumerate(self.level_poolers):
            (chosen,) = (levels == level).nonzero(as_tuple=True)
            pooled.index_put_((chosen,), pooler(x[level], boxes[chosen]))
        return pooled

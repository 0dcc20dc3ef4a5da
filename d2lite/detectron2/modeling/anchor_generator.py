"""Anchor boxes: the same boxes around every position of a feature map.

Shapes: A boxes per position, h w feature size.
"""

from __future__ import annotations

import torch
from torch import nn

from detectron2.config import configurable
from detectron2.structures import Boxes
from detectron2.utils.registry import Registry

__all__ = ["ANCHOR_GENERATOR_REGISTRY", "DefaultAnchorGenerator", "build_anchor_generator"]

ANCHOR_GENERATOR_REGISTRY = Registry("ANCHOR_GENERATOR")
ANCHOR_GENERATOR_REGISTRY.__doc__ = """
Callables ``(cfg, [ShapeSpec]) -> Module``: anchor boxes for feature maps.
"""


def build_anchor_generator(cfg, input_shape):
    """Build what ``cfg.MODEL.ANCHOR_GENERATOR.NAME`` names."""
    return ANCHOR_GENERATOR_REGISTRY.get(cfg.MODEL.ANCHOR_GENERATOR.NAME)(cfg, input_shape)


class BufferList(nn.Module):
    """Tensors that move with the module and are not saved."""

    def __init__(self, buffers):
        super().__init__()
        for i, buffer in enumerate(buffers):
            self.register_buffer(str(i), buffer, persistent=False)

    def __len__(self):
        return len(self._buffers)

    def __iter__(self):
        return iter(self._buffers.values())


@ANCHOR_GENERATOR_REGISTRY.register()
class DefaultAnchorGenerator(nn.Module):
    """Boxes of all given sizes and shapes around every position."""

    box_dim = 4  # numbers per box

    @configurable
    def __init__(self, *, sizes, aspect_ratios, strides, offset=0.5):
        """Set the boxes.

        Args:
            sizes: square roots of the areas in image pixels, for all maps or a list per map.
            aspect_ratios: heights divided by widths, likewise.
            strides: of the maps.
            offset: position of the first centre in its cell, in [0, 1).
        """
        super().__init__()
        assert 0.0 <= offset < 1.0, f"offset must be in [0, 1), got {offset}"
        self.strides = strides
        self.num_features = len(strides)
        self.offset = offset
        self.cell_anchors = BufferList(
            self.generate_cell_anchors(*per_map).float()
            for per_map in zip(
                _per_map(sizes, len(strides), "sizes"),
                _per_map(aspect_ratios, len(strides), "aspect_ratios"),
            )
        )

    @classmethod
    def from_config(cls, cfg, input_shape):
        options = cfg.MODEL.ANCHOR_GENERATOR
        return {
            "sizes": options.SIZES,
            "aspect_ratios": options.ASPECT_RATIOS,
            "strides": [shape.stride for shape in input_shape],
            "offset": options.OFFSET,
        }

    @property
    @torch.jit.unused
    def num_anchors(self):
        """A of every map."""
        return [len(anchors) for anchors in self.cell_anchors]

    num_cell_anchors = num_anchors

    def generate_cell_anchors(self, sizes=(32, 64, 128, 256, 512), aspect_ratios=(0.5, 1, 2)):
        """Return the boxes of one position around the origin, [A, 4]."""
        anchors = []
        for size in sizes:
            for ratio in aspect_ratios:
                width = (size**2.0 / ratio) ** 0.5
                half = (width / 2.0, ratio * width / 2.0)
                anchors.append([-half[0], -half[1], half[0], half[1]])
        return torch.tensor(anchors)

    def forward(self, features):
        """Return Boxes [h*w*A, 4] for every feature map [B, C, h, w], row by row."""
        return [
            Boxes(self._anchors(feature.shape[-2:], stride, cell))
            for feature, stride, cell in zip(features, self.strides, self.cell_anchors)
        ]

    def _anchors(self, size, stride, cell_anchors):
        y, x = (
            (torch.arange(length, dtype=torch.float32, device=cell_anchors.device) + self.offset)
            * stride
            for length in size
        )
        y, x = torch.meshgrid(y, x, indexing="ij")
        centers = torch.stack([x, y, x, y], dim=-1)  # [h, w, 4]
        return (centers[:, :, None] + cell_anchors).view(-1, 4)


def _per_map(values, num_maps, name):
    """Turn one list for all maps into a list per map."""
    assert hasattr(values, "__len__"), f"{name} must be a list, got {values}"
    assert len(values), f"{name} must not be empty"
    if not hasattr(values[0], "__len__"):
        return [values] * num_maps
    if len(values) == 1:
        return [values[0]] * num_maps
    assert len(values) == num_maps, f"{len(values)} lists of {name} for {num_maps} feature maps"
    return values

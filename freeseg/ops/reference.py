"""Multi-scale deformable attention in plain PyTorch: the definition every faster one must meet.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
L levels, P points.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def ms_deform_attn_reference(
    value: Tensor,
    spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sums bilinear samples of the value maps, weighted (Deformable DETR, eq. 3).

    A location is (x, y) in [0, 1] of its level and hits pixel ``location * size - 0.5``; outside
    the map the value is zero. That is ``grid_sample`` with ``align_corners=False``.

    Args:
        value: [B, S, M, D], levels one after the other, rows first.
        spatial_shapes: int [L, 2], (height, width) of every level.
        sampling_locations: [B, Q, M, L, P, 2].
        attention_weights: [B, Q, M, L, P].

    Returns:
        [B, Q, M * D].
    """
    batch_size, _, num_heads, head_channels = value.shape
    num_queries = sampling_locations.shape[1]
    sizes = [(int(height), int(width)) for height, width in spatial_shapes.tolist()]
    maps = value.permute(0, 2, 3, 1).flatten(0, 1)  # [B*M, D, S]
    grids = (2 * sampling_locations - 1).transpose(1, 2).flatten(0, 1)  # [B*M, Q, L, P, 2]
    weights = attention_weights.transpose(1, 2).flatten(0, 1)  # [B*M, Q, L, P]

    attended = torch.zeros_like(maps[..., :1]).expand(-1, -1, num_queries)  # [B*M, D, Q]
    for level, part in enumerate(maps.split([height * width for height, width in sizes], dim=2)):
        samples = F.grid_sample(
            part.unflatten(2, sizes[level]), grids[:, :, level], align_corners=False
        )  # [B*M, D, Q, P]
        attended = attended + (samples * weights[:, None, :, level]).sum(-1)
    return attended.reshape(batch_size, num_heads * head_channels, num_queries).mT

"""Multi-scale deformable attention in plain PyTorch: the definition every faster one must meet.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
L levels, P points.
"""

from __future__ import annotations

from collections.abc import Sequence

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

    Args:
        value: [B, S, M, D], levels one after the other, rows first.
        spatial_shapes: int [L, 2], (height, width) of every level.
        sampling_locations: [B, Q, M, L, P, 2].
        attention_weights: [B, Q, M, L, P].

    Returns:
        [B, Q, M * D].
    """
    sizes = [(int(height), int(width)) for height, width in spatial_shapes.tolist()]
    return ms_deform_attn_with_sizes(value, sizes, sampling_locations, attention_weights)


def ms_deform_attn_with_sizes(
    value: Tensor,
    sizes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """The same for level sizes that are no tensor, as tracers want them.

    A location is (x, y) in [0, 1] of its level and hits pixel ``location * size - 0.5``; outside
    the map the value is zero. That is ``grid_sample`` with ``align_corners=False``.

    Args:
        value: [B, S, M, D], levels one after the other, rows first.
        sizes: (height, width) of every level.
        sampling_locations: [B, Q, M, L, P, 2].
        attention_weights: [B, Q, M, L, P].

    Returns:
        [B, Q, M * D].
    """
    batch_size, _, num_heads, head_channels = value.shape
    num_queries = sampling_locations.shape[1]
    maps, grids, weights = _heads_as_images(value, sampling_locations, attention_weights)

    attended = torch.zeros_like(maps[..., :1]).expand(-1, -1, num_queries)  # [B*M, D, Q]
    for level, part in enumerate(maps.split([height * width for height, width in sizes], dim=2)):
        samples = F.grid_sample(
            part.unflatten(2, sizes[level]), grids[:, :, level], align_corners=False
        )  # [B*M, D, Q, P]
        attended = attended + (samples * weights[:, None, :, level]).sum(-1)
    return attended.reshape(batch_size, num_heads * head_channels, num_queries).mT


def ms_deform_attn_reference_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights, where autograd is not at hand: inside operators.

    Args:
        value: [B, S, M, D], and the following as for `ms_deform_attn_reference`.
        spatial_shapes: int [L, 2].
        sampling_locations: [B, Q, M, L, P, 2].
        attention_weights: [B, Q, M, L, P].
        grad_output: [B, Q, M * D].
    """
    batch_size, _, num_heads, _ = value.shape
    sizes = [(int(height), int(width)) for height, width in spatial_shapes.tolist()]
    maps, grids, weights = _heads_as_images(value, sampling_locations, attention_weights)
    grad = grad_output.unflatten(2, (num_heads, -1)).permute(0, 2, 3, 1).flatten(0, 1)
    grad = grad[..., None]  # [B*M, D, Q, 1]

    grad_maps, grad_grids, grad_weights = [], [], []
    for level, part in enumerate(maps.split([height * width for height, width in sizes], dim=2)):
        map_, grid = part.unflatten(2, sizes[level]), grids[:, :, level]
        samples = F.grid_sample(map_, grid, align_corners=False)  # [B*M, D, Q, P]
        grad_weights.append((grad * samples).sum(1))  # [B*M, Q, P]
        grad_map, grad_grid = torch.ops.aten.grid_sampler_2d_backward(
            grad * weights[:, None, :, level], map_, grid, 0, 0, False, (True, True)
        )  # bilinear, zeros outside
        grad_maps.append(grad_map.flatten(2))
        grad_grids.append(2 * grad_grid)
    by_head = (batch_size, num_heads)
    return (
        torch.cat(grad_maps, dim=2).unflatten(0, by_head).permute(0, 3, 1, 2),  # [B, S, M, D]
        torch.stack(grad_grids, dim=2).unflatten(0, by_head).transpose(1, 2),
        torch.stack(grad_weights, dim=2).unflatten(0, by_head).transpose(1, 2),
    )


def _heads_as_images(
    value: Tensor, sampling_locations: Tensor, attention_weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Maps [B*M, D, S], grids of ``grid_sample`` [B*M, Q, L, P, 2], weights [B*M, Q, L, P]."""
    return (
        value.permute(0, 2, 3, 1).flatten(0, 1),
        (2 * sampling_locations - 1).transpose(1, 2).flatten(0, 1),
        attention_weights.transpose(1, 2).flatten(0, 1),
    )

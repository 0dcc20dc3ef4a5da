"""The one public function for multi-scale deformable attention.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
L levels, P points.
"""

from __future__ import annotations

from torch import Tensor

from freeseg.ops.reference import ms_deform_attn_reference


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al., Deformable DETR, arXiv 2010.04159, eq. 3).

    Args:
        value: [B, S, M, D], the levels flattened one after the other, rows first.
        spatial_shapes: int64 [L, 2], (height, width) of every level.
        level_start_index: int64 [L], first pixel of every level in S.
        sampling_locations: [B, Q, M, L, P, 2], (x, y) in [0, 1] of the level; anything outside
            reads zeros.
        attention_weights: [B, Q, M, L, P].

    Returns:
        [B, Q, M * D].

    Raises:
        ValueError: When shapes disagree; the message names the argument.
    """
    _check(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    return ms_deform_attn_reference(value, spatial_shapes, sampling_locations, attention_weights)


def _check(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> None:
    if value.dim() != 4:
        raise ValueError(f"value must be [B, S, M, D], got shape {tuple(value.shape)}")
    batch_size, _, num_heads, _ = value.shape
    if spatial_shapes.dim() != 2 or spatial_shapes.shape[1] != 2:
        raise ValueError(f"spatial_shapes must be [L, 2], got {tuple(spatial_shapes.shape)}")
    num_levels = spatial_shapes.shape[0]
    if level_start_index.shape != (num_levels,):
        raise ValueError(
            f"level_start_index must be [{num_levels}], got {tuple(level_start_index.shape)}"
        )
    if sampling_locations.dim() != 6 or sampling_locations.shape[5] != 2:
        raise ValueError(
            f"sampling_locations must be [B, Q, M, L, P, 2], got {tuple(sampling_locations.shape)}"
        )
    found = tuple(sampling_locations.shape[axis] for axis in (0, 2, 3))
    if found != (batch_size, num_heads, num_levels):
        raise ValueError(
            f"sampling_locations holds (B, M, L) = {found}, "
            f"value and spatial_shapes hold {(batch_size, num_heads, num_levels)}"
        )
    if attention_weights.shape != sampling_locations.shape[:5]:
        raise ValueError(
            f"attention_weights must be {tuple(sampling_locations.shape[:5])}, "
            f"got {tuple(attention_weights.shape)}"
        )
    pixels = int(spatial_shapes.prod(1).sum())
    if pixels != value.shape[1]:
        raise ValueError(f"value holds {value.shape[1]} pixels, spatial_shapes add up to {pixels}")

"""Multi-scale deformable attention to a flattened feature pyramid (arXiv 2010.04159).

Shapes: B images, S summed pixels of all levels, C channels, M heads, L levels, P points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from freeseg.ops import ms_deform_attn


class MSDeformAttn(nn.Module):
    """Every query samples P points on each level around its reference point, per head."""

    def __init__(self, *, channels: int, num_levels: int, num_heads: int, num_points: int) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"channels ({channels}) must be a multiple of num_heads ({num_heads})")
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_points = num_points
        num_samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(channels, num_samples * 2)
        self.attention_weights = nn.Linear(channels, num_samples)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Equal weights; head m starts looking along its own of M directions, point p p+1 far."""
        for linear in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(linear.weight)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.attention_weights.bias)
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)  # onto a square [M, 2]
        distance = torch.arange(1, self.num_points + 1)
        offsets = direction[:, None, None] * distance[:, None]  # [M, 1, P, 2]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.num_levels, -1, -1).flatten())

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        source: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Attends from `query` [B, Q, C] to `source` [B, S, C].

        Args:
            query: Decides where to look and what counts.
            reference_points: Where every query looks around, in [0, 1] of a level: [Q, 2], (x, y),
                the same of all images and levels; [B, Q, L, 2]; or boxes [B, Q, L, 4], (centre x,
                centre y, width, height), of which the farthest point of a fresh layer is half the
                size away from the centre.
            source: What is read.
            spatial_shapes: int64 [L, 2], (height, width) of every level.
            level_start_index: int64 [L].
            padding: Bool [B, S], True for pixels that are read as zeros.

        Returns:
            [B, Q, C].

        Raises:
            ValueError: The reference points have another shape.
        """
        per_sample = (self.num_heads, self.num_levels, self.num_points)
        value = self.value_proj(source)
        if padding is not None:
            value = value.masked_fill(padding[..., None], 0)
        value = value.unflatten(-1, (self.num_heads, -1))  # [B, S, M, C/M]
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1))
        weights = _softmax_over_few(weights).unflatten(-1, per_sample[1:])  # [B, Q, M, L, P]
        offsets = self.sampling_offsets(query)  # [B, Q, M * L * P * 2]
        if reference_points.dim() == 2:
            pixel_sizes = _pixel_sizes(spatial_shapes, offsets)
            per_offset = pixel_sizes[:, None].expand(*per_sample, 2).flatten()  # [M * L * P * 2]
            references = reference_points.repeat(1, math.prod(per_sample))  # many times faster
            # rounded twice, as in the releases: addcmul would round once, which decoders amplify
            locations = (references + offsets * per_offset).unflatten(-1, (*per_sample, 2))
        else:
            offsets = offsets.unflatten(-1, (*per_sample, 2))
            locations = _around(reference_points, offsets, spatial_shapes)
        attended = ms_deform_attn(value, spatial_shapes, level_start_index, locations, weights)
        return self.output_proj(attended)


def _pixel_sizes(spatial_shapes: Tensor, like: Tensor) -> Tensor:
    """(width, height) [L, 2] of a level's pixel, in shares of the level."""
    return spatial_shapes.flip(-1).to(like).reciprocal()


def _around(references: Tensor, offsets: Tensor, spatial_shapes: Tensor) -> Tensor:
    """Locations [B, Q, M, L, P, 2] around points [B, Q, L, 2] or in boxes [B, Q, L, 4]."""
    batch, num_queries, _, num_levels, num_points, _ = offsets.shape
    shape = tuple(references.shape)
    if shape not in [(batch, num_queries, num_levels, size) for size in (2, 4)]:
        raise ValueError(
            f"wanted reference points [Q, 2], [B, Q, L, 2] or boxes [B, Q, L, 4] of B {batch}, "
            f"Q {num_queries}, L {num_levels}, got {shape}"
        )
    places = references[:, :, None, :, None]  # [B, Q, 1, L, 1, 2 or 4]
    if shape[-1] == 2:
        return places + offsets * _pixel_sizes(spatial_shapes, offsets)[:, None]
    centres, sizes = places.split(2, dim=-1)
    return centres + offsets / num_points * sizes * 0.5


def _softmax_over_few(logits: Tensor) -> Tensor:
    """Softmax over the last axis, which is short: PyTorch is slow there, fast across rows."""
    return logits.flatten(0, -2).mT.softmax(0).mT.reshape(logits.shape)


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward net, each with dropout, residual, norm."""

    def __init__(
        self,
        *,
        channels: int,
        hidden_channels: int,
        dropout: float,
        num_levels: int,
        num_heads: int,
        num_points: int,
    ) -> None:
        super().__init__()
        self.self_attn = MSDeformAttn(
            channels=channels, num_levels=num_levels, num_heads=num_heads, num_points=num_points
        )
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden_channels)
        self.linear2 = nn.Linear(hidden_channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self,
        source: Tensor,
        position: Tensor,
        reference_points: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        padding: Tensor | None = None,
    ) -> Tensor:
        """Refines `source` [B, S, C] at positions [B, S, C]; the rest as of `MSDeformAttn`."""
        attended = self.self_attn(
            source + position, reference_points, source, spatial_shapes, level_start_index, padding
        )
        source = self.norm1(source + self.dropout(attended))
        hidden = self.dropout(self.linear1(source).relu_())
        return self.norm2(source + self.dropout(self.linear2(hidden)))


def pixel_centres(sizes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """[S, 2]: (x, y) in [0, 1] of the pixel centres of all levels, rows first."""
    grids = []
    for height, width in sizes:
        y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
        x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        grids.append(torch.stack([columns, rows], dim=-1).flatten(0, 1))
    return torch.cat(grids)

"""Attention sub-layers of the query decoder: attend, add, normalise.

Shapes: B images, Q queries, S source tokens, C channels, M heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention with the parameter names of ``torch.nn.MultiheadAttention``.

    Takes a boolean mask that is shared by the heads instead of one copy per head, and never
    returns the attention map, so PyTorch may choose a fused kernel.
    """

    def __init__(self, *, channels: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f"channels ({channels}) must be a multiple of num_heads ({num_heads})")
        self.num_heads = num_heads
        self.dropout = dropout  # share of attention weights dropped in training
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        """Attends from `query` [B, Q, C] to `key` and `value` [B, S, C].

        Args:
            visible: Bool [B, Q, S], True where the query may look; None when it may everywhere.

        Returns:
            [B, Q, C].
        """
        _, (key_weight, key_bias), (value_weight, value_bias) = self.projections()
        keys = F.linear(key, key_weight, key_bias)
        return self.attend(query, keys, F.linear(value, value_weight, value_bias), visible)

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        """`forward` for keys and values [B, S, C] that are projected already."""
        (weight, bias), *_ = self.projections()
        queries, keys, values = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (F.linear(query, weight, bias), keys, values)
        )  # each [B, M, Q or S, C/M]
        mask = None if visible is None else visible[:, None]
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=self.dropout * self.training
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def projections(self) -> list[tuple[Tensor, Tensor]]:
        """Weight [C, C] and bias [C] of queries, keys and values."""
        return list(zip(self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)))


class SelfAttentionLayer(nn.Module):
    """Queries look at each other; residual; layer norm (after, or before when `pre_norm`)."""

    def __init__(self, *, channels: int, num_heads: int, pre_norm: bool = False) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(channels=channels, num_heads=num_heads)
        self.norm = nn.LayerNorm(channels)
        self.pre_norm = pre_norm

    def forward(
        self,
        content: Tensor,
        position: Tensor,
        visible: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> Tensor:
        """Refines `content` [B, Q, C].

        Args:
            content: The queries.
            position: [B, Q, C], or what broadcasts to it; added where queries are compared.
            visible: Bool [B, Q, Q], or [B, Q, Q + K] with tokens; None when all see all.
            tokens: [B, K, C], seen beside the queries, each its own position; not refined.
        """
        x = self.norm(content) if self.pre_norm else content
        keys, values = x + position, x
        if tokens is not None:
            keys = torch.cat([keys, 2 * tokens], dim=1)  # content and position
            values = torch.cat([values, tokens], dim=1)
        attended = content + self.self_attn(x + position, keys, values, visible)
        return attended if self.pre_norm else self.norm(attended)


class CrossAttentionLayer(nn.Module):
    """Queries look at source tokens; residual; layer norm (after, or before when `pre_norm`)."""

    def __init__(self, *, channels: int, num_heads: int, pre_norm: bool = False) -> None:
        super().__init__()
        self.multihead_attn = MultiheadAttention(channels=channels, num_heads=num_heads)
        self.norm = nn.LayerNorm(channels)
        self.pre_norm = pre_norm

    def forward(
        self,
        content: Tensor,
        position: Tensor,
        source: Tensor,
        source_position: Tensor,
        visible: Tensor | None = None,
    ) -> Tensor:
        x = self.norm(content) if self.pre_norm else content
        attended = content + self.multihead_attn(
            x + position, source + source_position, source, visible
        )
        return attended if self.pre_norm else self.norm(attended)


class FeedForwardLayer(nn.Module):
    """Two linear layers with ReLU; residual; layer norm (after, or before when `pre_norm`)."""

    def __init__(self, *, channels: int, hidden_channels: int, pre_norm: bool = False) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden_channels)
        self.linear2 = nn.Linear(hidden_channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.pre_norm = pre_norm
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, content: Tensor) -> Tensor:
        x = self.norm(content) if self.pre_norm else content
        refined = content + self.linear2(F.relu(self.linear1(x), inplace=True))
        return refined if self.pre_norm else self.norm(refined)

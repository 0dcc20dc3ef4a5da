"""Two-way transformer: few tokens and a map read each other (Kirillov et al., arXiv 2304.02643).

Shapes: N objects, T tokens, S pixels of the map, C channels, A channels inside an attention,
M heads.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class NarrowAttention(nn.Module):
    """Attention with separate projections, which may be narrower than what it reads.

    Args:
        channels: C, of what is read and given.
        inner_channels: A, a multiple of the heads.
        num_heads: M.
    """

    def __init__(self, *, channels: int, inner_channels: int, num_heads: int) -> None:
        super().__init__()
        if inner_channels % num_heads:
            raise ValueError(
                f"inner_channels ({inner_channels}) must be a multiple of num_heads ({num_heads})"
            )
        self.num_heads = num_heads
        self.q_proj = nn.Linear(channels, inner_channels)
        self.k_proj = nn.Linear(channels, inner_channels)
        self.v_proj = nn.Linear(channels, inner_channels)
        self.out_proj = nn.Linear(inner_channels, channels)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, visible: Tensor | None = None
    ) -> Tensor:
        """Attends from `query` [N, Q, C] to `key` and `value` [N, K, C].

        Args:
            query: Who looks.
            key: What is compared.
            value: What is read.
            visible: Bool [N, K], False where a key is not there; None: all are.

        Returns:
            [N, Q, C].
        """
        queries, keys, values = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (self.q_proj(query), self.k_proj(key), self.v_proj(value))
        )  # each [N, M, Q or K, A/M]
        mask = None if visible is None else visible[:, None, None]
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        projected: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return projected


class TwoWayBlock(nn.Module):
    """Tokens look at each other and at the map, then the map looks at the tokens.

    Args:
        channels: C.
        num_heads: M.
        hidden_channels: Of the tokens' feed-forward layer.
        narrowing: C / A of what lies between tokens and map.
        is_first: Parity: the tokens' first look at each other is without position, and replaces
            them.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_heads: int,
        hidden_channels: int,
        narrowing: int,
        is_first: bool,
    ) -> None:
        super().__init__()
        inner = channels // narrowing
        self.is_first = is_first
        self.self_attn = NarrowAttention(
            channels=channels, inner_channels=channels, num_heads=num_heads
        )
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = NarrowAttention(
            channels=channels, inner_channels=inner, num_heads=num_heads
        )
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = _FeedForward(channels, hidden_channels)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = NarrowAttention(
            channels=channels, inner_channels=inner, num_heads=num_heads
        )

    def forward(
        self, tokens: Tensor, pixels: Tensor, position: Tensor, places: Tensor, there: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Refines both; arguments as of `TwoWayTransformer`."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens, there)
        else:
            placed = tokens + position
            tokens = tokens + self.self_attn(placed, placed, tokens, there)
        tokens = self.norm1(tokens)
        read = self.cross_attn_token_to_image(tokens + position, pixels + places, pixels)
        tokens = self.norm2(tokens + read)
        tokens = self.norm3(tokens + self.mlp(tokens))
        told = self.cross_attn_image_to_token(pixels + places, tokens + position, tokens, there)
        return tokens, self.norm4(pixels + told)


class TwoWayTransformer(nn.Module):
    """Blocks of both directions, and a last look of the tokens at the map.

    Args:
        channels: C.
        num_layers: Blocks.
        num_heads: M.
        hidden_channels: Of the feed-forward layers.
        narrowing: C / A of what lies between tokens and map.
    """

    def __init__(
        self,
        *,
        channels: int,
        num_layers: int,
        num_heads: int,
        hidden_channels: int,
        narrowing: int = 2,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(
                channels=channels,
                num_heads=num_heads,
                hidden_channels=hidden_channels,
                narrowing=narrowing,
                is_first=number == 0,
            )
            for number in range(num_layers)
        )
        self.final_attn_token_to_image = NarrowAttention(
            channels=channels, inner_channels=channels // narrowing, num_heads=num_heads
        )
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self, tokens: Tensor, pixels: Tensor, places: Tensor, there: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Refines tokens and the pixels of a map.

        Args:
            tokens: [N, T, C]; as they come they are their own positions too.
            pixels: [N, S, C].
            places: Positions of the pixels, [N, S, C] or what broadcasts to it.
            there: Bool [N, T], False for rows that only fill up the batch: nothing looks at them,
                and what comes out there means nothing. None: all are there.

        Returns:
            Tokens [N, T, C] and pixels [N, S, C].
        """
        position = tokens
        for layer in self.layers:
            tokens, pixels = layer(tokens, pixels, position, places, there)
        read = self.final_attn_token_to_image(tokens + position, pixels + places, pixels)
        return self.norm_final_attn(tokens + read), pixels


class _FeedForward(nn.Module):
    """Two linear layers with ReLU between them, under the releases' names."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(channels, hidden_channels)
        self.lin2 = nn.Linear(hidden_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.lin2(F.relu(self.lin1(x)))
        return projected

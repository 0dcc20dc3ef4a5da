"""Decoder layer of DETR: self-attention, cross-attention, feed-forward, each with dropout.

Shapes: B images, Q queries, S source tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from freeseg.layers.attention import MultiheadAttention


class DetrDecoderLayer(nn.Module):
    """One layer of DETR's decoder under its parameter names (arXiv 2005.12872, appendix A.3)."""

    def __init__(
        self,
        *,
        channels: int,
        num_heads: int,
        hidden_channels: int,
        dropout: float,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        heads = {"channels": channels, "num_heads": num_heads}
        self.self_attn = MultiheadAttention(**heads, dropout=dropout)
        self.multihead_attn = MultiheadAttention(**heads, dropout=dropout)
        self.linear1 = nn.Linear(channels, hidden_channels)
        self.linear2 = nn.Linear(hidden_channels, channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(dropout)
        self.pre_norm = pre_norm
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self,
        content: Tensor,
        position: Tensor,
        keys: Tensor,
        values: Tensor,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Refines queries.

        Args:
            content: [B, Q, C].
            position: [B, Q, C], added to queries.
            keys: [B, S, C], what `multihead_attn` makes of source tokens with their positions.
            values: [B, S, C], what it makes of the tokens.
            visible: Bool [B, Q, Q], which queries a query sees; None when it sees all.
        """
        content = self._sublayer(
            content, self.norm1, lambda x: self.self_attn(x + position, x + position, x, visible)
        )
        content = self._sublayer(
            content, self.norm2, lambda x: self.multihead_attn.attend(x + position, keys, values)
        )
        return self._sublayer(content, self.norm3, self._feed_forward)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.linear1(x).relu()))

    def _sublayer(
        self, content: Tensor, norm: nn.LayerNorm, refine: Callable[[Tensor], Tensor]
    ) -> Tensor:
        if self.pre_norm:
            return content + self.dropout(refine(norm(content)))
        return norm(content + self.dropout(refine(content)))

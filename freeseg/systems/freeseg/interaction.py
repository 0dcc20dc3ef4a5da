"""Semantic context interaction: every pixel reads the class texts (FreeSeg, section 3.4).

Shapes: B images, K texts, C channels, D text width, E width inside, M heads, h w feature size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.structures import PyramidFeatures

START_SCALE = 0.1  # of the layer scale
TILE = 2**21  # attention weights at a time: 8 MiB


class ContextInteraction(nn.Module):
    """One cross-attention from pixels to texts, shared by all maps of an image."""

    gamma: Tensor | None

    def __init__(
        self,
        *,
        channels: int,
        text_channels: int,
        hidden_channels: int,
        num_heads: int,
        dropout: float = 0.1,
        layer_scale: bool = True,
    ) -> None:
        """Builds it.

        Args:
            channels: C.
            text_channels: D.
            hidden_channels: E.
            num_heads: M.
            dropout: Of the attention, in training.
            layer_scale: Learn a factor per channel of what is added.
        """
        super().__init__()
        self.layer_norm_q_1 = nn.LayerNorm(channels)
        self.layer_norm_k_1 = nn.LayerNorm(text_channels)
        self.attn = TextAttention(
            channels=channels,
            text_channels=text_channels,
            hidden_channels=hidden_channels,
            num_heads=num_heads,
            dropout=dropout,
        )
        scale = nn.Parameter(torch.full((channels,), START_SCALE)) if layer_scale else None
        self.register_parameter("gamma", scale)

    def forward(self, features: PyramidFeatures, text: Tensor) -> PyramidFeatures:
        """Features of the same sizes that have read `text` [B, K, D].

        Those of a single image may read several texts [R, K, D]; then they are of R images.

        Parity: the release normalises the texts once more for every map, so that the fourth map,
        the mask features, reads texts that went through the layer norm four times; and it adds
        what was read to the normalised pixels.
        """
        maps = []
        for pixels in (*features.levels, features.mask_features):
            text = self.layer_norm_k_1(text)
            query = self.layer_norm_q_1(pixels.flatten(2).mT)  # [B, h*w, C]
            mixed = self.attn(query, text, 1.0 if self.gamma is None else self.gamma)
            maps.append(mixed.mT.unflatten(2, pixels.shape[-2:]))  # [B, C, h, w]
        frames = features.frames * (len(text) // features.batch_size)
        return PyramidFeatures(frames, tuple(maps[:-1]), maps[-1])


class TextAttention(nn.Module):
    """Multi-head attention between two widths, under the release's parameter names."""

    def __init__(
        self,
        *,
        channels: int,
        text_channels: int,
        hidden_channels: int,
        num_heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if hidden_channels % num_heads:
            raise ValueError(
                f"hidden_channels ({hidden_channels}) must be a multiple of num_heads ({num_heads})"
            )
        self.num_heads = num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(channels, hidden_channels)
        self.k_proj = nn.Linear(text_channels, hidden_channels)
        self.v_proj = nn.Linear(text_channels, hidden_channels)
        self.out_proj = nn.Linear(hidden_channels, channels)
        for projection in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, text: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Each of `query` [B, S, C] plus what it reads in `text` [B, K, D]: [B, S, C].

        There are many more pixels than texts, so what is linear is done to texts instead of
        pixels: ``(Wq x) . k = x . (Wq^T k)``, ``Wo`` of a mean of values is one of ``Wo v``, and so
        is a scaled one.

        Args:
            query: Of as many images as there are texts, or of one.
            text: [B, K, D].
            scale: [C], or one for all, factor of what is read.
        """
        heads = (self.num_heads, -1)
        keys, values = (
            projected.unflatten(-1, heads).transpose(1, 2)
            for projected in (self.k_proj(text), self.v_proj(text))
        )  # [B, M, K, E/M]
        keys = keys * keys.shape[-1] ** -0.5
        query_bias = self.q_proj.bias.unflatten(0, heads)[:, :, None]  # [M, E/M, 1]
        shift = (keys @ query_bias).flatten(1)[:, None]  # [B, 1, M*K]
        keys = (keys @ self.q_proj.weight.unflatten(0, heads)).flatten(1, 2)  # [B, M*K, C]
        output_weight = (scale * self.out_proj.weight.T).unflatten(0, heads)  # [M, E/M, C]
        output_bias = scale * self.out_proj.bias
        values = (values @ output_weight).flatten(1, 2)  # [B, M*K, C]
        texts = (shift, keys, values)
        query = query.expand(len(text), -1, -1)

        def read(
            pixels: Tensor, out: Tensor | None, shift: Tensor, keys: Tensor, values: Tensor
        ) -> Tensor:
            logits = torch.baddbmm(shift, pixels, keys.mT).unflatten(-1, heads)
            weights = F.dropout(logits.softmax(-1), self.dropout, self.training)
            return torch.baddbmm(pixels, weights.flatten(2), values, out=out).add_(output_bias)

        if torch.compiler.is_compiling():
            # an exported program knows no sizes, so it has one tile
            return read(query, None, *texts)
        if torch.is_grad_enabled():
            tile = max(1, TILE // keys.shape[:2].numel())
            parts = query.split(tile, dim=1)
            return torch.cat([read(part, None, *texts) for part in parts], dim=1)
        # One text after another: threads share a product, but not three of them evenly.
        mixed = query.new_empty(query.shape)
        tile = max(1, TILE // keys.shape[1])
        for pixels, place, *text_of_one in zip(*(x.split(1) for x in (query, mixed, *texts))):
            for part, out in zip(pixels.split(tile, dim=1), place.split(tile, dim=1)):
                read(part, out, *text_of_one)
        return mixed

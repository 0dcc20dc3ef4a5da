"""CLIP's text transformer under CLIP's parameter names (arXiv 2103.00020, section 2.4).

Shapes: N texts, L context length, C channels.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from freeseg.layers import MultiheadAttention

HEAD_CHANNELS = 64  # of every attention head, as in CLIP


class TextTransformer(nn.Module):
    """Causal transformer over tokens; a text's feature is the one at its end token."""

    def __init__(
        self, *, context_length: int, channels: int, num_layers: int, vocabulary_size: int
    ) -> None:
        super().__init__()
        blocks = [
            ResidualAttentionBlock(channels=channels, num_heads=max(1, channels // HEAD_CHANNELS))
            for _ in range(num_layers)
        ]
        self.token_embedding = nn.Embedding(vocabulary_size, channels)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, channels))
        self.transformer = nn.ModuleDict({"resblocks": nn.Sequential(*blocks)})
        self.ln_final = nn.LayerNorm(channels)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        for block in blocks:
            block.reset_parameters(num_layers)

    def forward(self, tokens: Tensor) -> Tensor:
        """Features [N, C] of token ids int64 [N, L], each ended by the largest id of its row.

        What follows the end never reaches it, so the rows are cut after the last end: the same
        features for less work.
        """
        ends = tokens.argmax(-1)  # [N]
        tokens = tokens[:, : int(ends.max()) + 1]
        features = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        features = self.transformer["resblocks"](features)  # [N, L, C]
        at_end = features[torch.arange(len(tokens), device=tokens.device), ends]
        return self.ln_final(at_end)


class ResidualAttentionBlock(nn.Module):
    """Causal self-attention and a feed-forward net, layer norms first."""

    def __init__(self, *, channels: int, num_heads: int) -> None:
        super().__init__()
        self.attn = MultiheadAttention(channels=channels, num_heads=num_heads)
        self.ln_1 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(channels, 4 * channels),
                gelu=QuickGELU(),
                c_proj=nn.Linear(4 * channels, channels),
            )
        )
        self.ln_2 = nn.LayerNorm(channels)

    def reset_parameters(self, num_layers: int) -> None:
        """CLIP's start: outputs of a block shrink with the depth."""
        channels = self.ln_1.normalized_shape[0]
        deviations = {
            "attn.in_proj_weight": channels**-0.5,
            "attn.out_proj.weight": (channels * 2 * num_layers) ** -0.5,
            "mlp.c_fc.weight": (2 * channels) ** -0.5,
            "mlp.c_proj.weight": (channels * 2 * num_layers) ** -0.5,
        }
        for name, deviation in deviations.items():
            nn.init.normal_(self.get_parameter(name), std=deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Refines [N, L, C]."""
        length = x.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, causal[None])
        return x + self.mlp(self.ln_2(x))


class QuickGELU(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)

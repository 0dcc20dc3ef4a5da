"""A text encoder that is trained with the model: CLIP's text tower without its projection.

Shapes: N texts, L context length, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from freeseg.text.clip import HEAD_WIDTH, Transformer


class CausalTextEncoder(nn.Module):
    """Causal transformer over tokens; the feature of a text is the one at its end token."""

    def __init__(
        self, *, context_length: int, channels: int, num_layers: int, vocabulary_size: int
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary_size, channels)
        self.positional_embedding = nn.Parameter(torch.randn(context_length, channels) * 0.01)
        self.transformer = Transformer(
            width=channels,
            num_layers=num_layers,
            num_heads=max(1, channels // HEAD_WIDTH),
            quick_gelu=True,
        )
        self.ln_final = nn.LayerNorm(channels)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Features [N, C] of token ids int64 [N, L], each ended by the largest id of its row.

        What follows an end never reaches it, so all rows are cut after the last end: the same
        features for less work.

        Raises:
            ValueError: When a text is longer than the encoder reads.
        """
        ends = tokens.argmax(-1)  # [N]
        tokens = tokens[:, : int(ends.max()) + 1]
        length, most = tokens.shape[1], len(self.positional_embedding)
        if length > most:
            raise ValueError(
                f"a text has {length} tokens, the encoder reads {most}: lower INPUT.MAX_SEQ_LEN or "
                "raise MODEL.TEXT_ENCODER.CONTEXT_LENGTH"
            )
        causal = torch.ones(1, length, length, dtype=torch.bool, device=tokens.device).tril()
        content = self.token_embedding(tokens) + self.positional_embedding[:length]  # [N, L, C]
        refined = self.transformer(content, causal)
        return self.ln_final(refined[torch.arange(len(tokens), device=tokens.device), ends])

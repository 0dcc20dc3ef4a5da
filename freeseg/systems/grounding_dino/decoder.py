"""The cross-modality decoder: queries read words and the image, and refine their boxes.

Shapes: B images, Q queries, S image tokens of all levels, T text tokens, L levels, C channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from freeseg.layers import MLP, MultiheadAttention
from freeseg.layers.deformable import MSDeformAttn
from freeseg.layers.position import sines
from freeseg.systems.grounding_dino.boxes import EPSILON, inverse_sigmoid
from freeseg.systems.grounding_dino.enhancer import Enhanced
from freeseg.systems.grounding_dino.features import TokenFeatures
from freeseg.systems.grounding_dino.initial import fill
from freeseg.systems.grounding_dino.scores import WordScores
from freeseg.systems.grounding_dino.selection import Selected, box_head


class DecodedBoxes(NamedTuple):
    """The prediction of one layer."""

    references: Tensor  # [B, Q, 4], boxes that entered it
    queries: Tensor  # [B, Q, C], after the decoder's norm
    word_logits: Tensor  # [B, Q, T], -inf on padding
    boxes: Tensor  # [B, Q, 4], (centre x, centre y, width, height) in shares of the picture


class GroundingDecoderLayer(nn.Module):
    """Self-attention, words, image, feed-forward; norms behind."""

    def __init__(
        self,
        *,
        channels: int,
        hidden_channels: int,
        num_heads: int,
        num_levels: int,
        num_points: int,
    ) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(channels=channels, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(channels)
        self.ca_text = MultiheadAttention(channels=channels, num_heads=num_heads)
        self.catext_norm = nn.LayerNorm(channels)
        self.cross_attn = MSDeformAttn(
            channels=channels, num_levels=num_levels, num_heads=num_heads, num_points=num_points
        )
        self.norm1 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden_channels)
        self.linear2 = nn.Linear(hidden_channels, channels)
        self.norm3 = nn.LayerNorm(channels)
        fill(self.linear1, self.linear2)

    def forward(
        self,
        queries: Tensor,
        position: Tensor,
        references: Tensor,
        features: TokenFeatures,
        enhanced: Enhanced,
        is_token: Tensor,
    ) -> Tensor:
        """Refines queries [B, Q, C] at positions [B, Q, C] and boxes [B, Q, L, 4]."""
        placed = queries + position
        queries = self.norm2(queries + self.self_attn(placed, placed, queries))
        words = enhanced.text
        visible = None
        if not is_token.all():
            visible = is_token[:, None].expand(-1, queries.shape[1], -1)
        read = self.ca_text(queries + position, words, words, visible)
        queries = self.catext_norm(queries + read)
        seen = self.cross_attn(
            queries + position, references, enhanced.image, *features.shapes(), features.padding
        )
        queries = self.norm1(queries + seen)
        refined: Tensor = self.norm3(queries + self.linear2(self.linear1(queries).relu_()))
        return refined


class GroundingDecoder(nn.Module):
    """Layers, and the heads of boxes and words.

    Parity: a layer's box comes of its normed queries, the next layer's reference of these queries
    as they are.

    Args:
        layers: One at least.
        channels: C.
        shares_heads: Whether all layers have one head for boxes and one for words.
        word_scores: Of every layer; one where they are shared.
        head_epsilon: How near references come to 0 and 1 where a box is predicted of them.
    """

    def __init__(
        self,
        *,
        layers: list[GroundingDecoderLayer],
        channels: int,
        shares_heads: bool,
        word_scores: list[WordScores],
        head_epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(channels)
        self.head_epsilon = head_epsilon
        self.ref_point_head = MLP(
            in_channels=2 * channels, hidden_channels=channels, out_channels=channels, num_layers=2
        )
        fill(*self.ref_point_head.layers)
        count = 1 if shares_heads else len(layers)
        self.bbox_embed = nn.ModuleList(box_head(channels) for _ in range(count))
        self.word_scores = nn.ModuleList(word_scores)

    def forward(
        self, features: TokenFeatures, enhanced: Enhanced, is_token: Tensor, selected: Selected
    ) -> list[DecodedBoxes]:
        """Predictions of all layers, the last one's is the answer."""
        batch = len(features.tokens)
        queries = selected.content.expand(batch, -1, -1)
        references = selected.box_logits.detach().sigmoid()
        ratios = features.valid_ratios.repeat(1, 1, 2)[:, None]  # [B, 1, L, 4]
        found = []
        for number, layer in enumerate(self.layers):
            on_levels = references[:, :, None] * ratios  # [B, Q, L, 4]
            position = self.ref_point_head(self._waves(on_levels[:, :, 0]))
            queries = layer(queries, position, on_levels, features, enhanced, is_token)
            head = self.bbox_embed[number % len(self.bbox_embed)]
            score = self.word_scores[number % len(self.word_scores)]
            normed = self.norm(queries)
            before = inverse_sigmoid(references, self.head_epsilon)
            found.append(
                DecodedBoxes(
                    references,
                    normed,
                    score(normed, enhanced.text, is_token),
                    (head(normed) + before).sigmoid(),
                )
            )
            before = inverse_sigmoid(references, EPSILON)
            references = (head(queries) + before).sigmoid().detach()
        return found

    def _waves(self, boxes: Tensor) -> Tensor:
        """Sines [B, Q, 2C] of boxes [B, Q, 4]: of y, x, width, height."""
        waves = sines(boxes * (2 * math.pi), self.norm.normalized_shape[0] // 2)  # [B, Q, 4, C/2]
        return waves[:, :, [1, 0, 2, 3]].flatten(2)

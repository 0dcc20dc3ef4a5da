"""The feature enhancer: image and text, layer by layer, in the light of each other.

Shapes: B images, S image tokens of all levels, T text tokens, L levels, C channels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from freeseg.layers import MultiheadAttention
from freeseg.layers.deformable import DeformableEncoderLayer, pixel_centres
from freeseg.layers.position import sines
from freeseg.systems.grounding_dino.captions import EncodedText
from freeseg.systems.grounding_dino.features import TokenFeatures
from freeseg.systems.grounding_dino.fusion import FusionLayer
from freeseg.systems.grounding_dino.initial import fill


class Enhanced(NamedTuple):
    """What decoding starts from."""

    image: Tensor  # [B, S, C]
    text: Tensor  # [B, T, C]


class TextLayer(nn.Module):
    """Words of a sub-sentence look at each other; feed-forward; norms behind."""

    def __init__(self, *, channels: int, hidden_channels: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(channels=channels, num_heads=num_heads)
        self.linear1 = nn.Linear(channels, hidden_channels)
        self.linear2 = nn.Linear(hidden_channels, channels)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        fill(self.linear1, self.linear2)

    def forward(self, text: Tensor, position: Tensor, visible: Tensor) -> Tensor:
        """Refines text [B, T, C] at positions [B, T, C]; visible [B, T, T]: who sees whom."""
        placed = text + position
        text = self.norm1(text + self.self_attn(placed, placed, text, visible))
        refined: Tensor = self.norm2(text + self.linear2(self.linear1(text).relu_()))
        return refined


class Enhancer(nn.Module):
    """Layers of fusion, text and image, in this order.

    Args:
        fusion_layers: Of both.
        text_layers: As many.
        layers: Of the image, as many.
    """

    def __init__(
        self,
        *,
        fusion_layers: list[FusionLayer],
        text_layers: list[TextLayer],
        layers: list[DeformableEncoderLayer],
    ) -> None:
        super().__init__()
        self.fusion_layers = nn.ModuleList(fusion_layers)
        self.text_layers = nn.ModuleList(text_layers)
        self.layers = nn.ModuleList(layers)

    def forward(self, features: TokenFeatures, text: EncodedText) -> Enhanced:
        """Enhances B images and as many texts."""
        position = sines(text.places * (2 * math.pi), text.states.shape[-1])
        references = pixel_centres(features.sizes, features.tokens)  # [S, 2]
        if features.padding is not None:
            references = (
                features.of_picture(references)[:, :, None] * features.valid_ratios[:, None]
            )
        image, states = features.tokens, text.states
        for fuse, read, look in zip(self.fusion_layers, self.text_layers, self.layers):
            image, states = fuse(image, states, features.padding, text.is_token)
            states = read(states, position, text.visible)
            image = look(
                image, features.positions, references, *features.shapes(), features.padding
            )
        return Enhanced(image, states)

"""Masked-attention query decoder: each layer reads one pyramid level inside its own masks.

Shapes: B images, Q queries, C channels, M heads, h w feature size, H W mask size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import fvcore.nn.weight_init as weight_init
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.layers import Conv2d
from freeseg.layers import (
    MLP,
    CrossAttentionLayer,
    FeedForwardLayer,
    SelfAttentionLayer,
    sine_position,
)
from freeseg.structures import (
    DecoderOutput,
    LayerPrediction,
    PyramidFeatures,
    QueryGroup,
    QuerySet,
    sizes_of,
)

NUM_LEVELS = 3
NUM_MASK_LAYERS = 3


@dataclass(frozen=True)
class DecoderSizes:
    """What every masked query decoder is made of.

    Attributes:
        in_channels: Width of the pyramid.
        channels: Width of the queries.
        mask_channels: Width of the mask embedding.
        num_heads: Attention heads.
        hidden_channels: Width of the feed-forward nets.
        num_layers: Decoder layers; predictions are one more.
        pre_norm: Layer norm before instead of after each sub-layer.
        enforce_input_projection: Project the pyramid even where widths agree.
    """

    in_channels: int
    channels: int
    mask_channels: int
    num_heads: int
    hidden_channels: int
    num_layers: int
    pre_norm: bool = False
    enforce_input_projection: bool = False


class MaskedQueryDecoder(nn.Module):
    """Refines a query set against a feature pyramid, predicting masks after every layer.

    Knows neither classes nor where queries come from: subclasses hold those (under the parameter
    names of their releases) and call `decode`. Mask2Former, arXiv 2112.01527, section 3.2.
    """

    def __init__(self, sizes: DecoderSizes) -> None:
        """Builds the layers."""
        super().__init__()
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(
                channels=sizes.channels, num_heads=sizes.num_heads, pre_norm=sizes.pre_norm
            )
            for _ in range(sizes.num_layers)
        )
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(
                channels=sizes.channels, num_heads=sizes.num_heads, pre_norm=sizes.pre_norm
            )
            for _ in range(sizes.num_layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForwardLayer(
                channels=sizes.channels,
                hidden_channels=sizes.hidden_channels,
                pre_norm=sizes.pre_norm,
            )
            for _ in range(sizes.num_layers)
        )
        self.decoder_norm = nn.LayerNorm(sizes.channels)
        self.level_embed = nn.Embedding(NUM_LEVELS, sizes.channels)
        needs_projection = sizes.in_channels != sizes.channels or sizes.enforce_input_projection
        self.input_proj = nn.ModuleList(
            Conv2d(sizes.in_channels, sizes.channels, kernel_size=1)
            if needs_projection
            else nn.Sequential()
            for _ in range(NUM_LEVELS)
        )
        for projection in self.input_proj:
            if needs_projection:
                weight_init.c2_xavier_fill(projection)
        self.mask_embed = MLP(
            in_channels=sizes.channels,
            hidden_channels=sizes.channels,
            out_channels=sizes.mask_channels,
            num_layers=NUM_MASK_LAYERS,
        )

    def decode(self, features: PyramidFeatures, queries: QuerySet) -> DecoderOutput:
        """Runs all layers and predicts before the first and after each.

        Raises:
            ValueError: When the pyramid does not have three levels.
        """
        sizes = sizes_of(features.levels)
        predictions: list[LayerPrediction] = []

        def inside(_: Tensor, level: int) -> Tensor:
            return mask_visibility(predictions[-1].mask_logits, sizes[level])

        for content in self._refine(features, queries, inside):
            predictions.append(self._predict(content, features.mask_features))
        return DecoderOutput(tuple(predictions))

    def decode_final(self, features: PyramidFeatures, queries: QuerySet) -> LayerPrediction:
        """The last prediction of `decode`, for inference, where nobody looks at the others.

        Resizing masks is linear, so the masks that layers look through are computed from resized
        mask features, at the size at which they are used.
        """
        resized = [
            F.interpolate(features.mask_features, size, mode="bilinear", align_corners=False)
            for size in sizes_of(features.levels)
        ]

        def inside(content: Tensor, level: int) -> Tensor:
            return _inside_or_everywhere(self._predict(content, resized[level]).mask_logits)

        *_, content = self._refine(features, queries, inside)
        return self._predict(content, features.mask_features)

    def _refine(
        self,
        features: PyramidFeatures,
        queries: QuerySet,
        inside: Callable[[Tensor, int], Tensor],
    ) -> Iterator[Tensor]:
        """Content [B, Q, C] before the first layer and after each.

        Args:
            features: The image.
            queries: What is refined.
            inside: Takes content and the index of a level, returns where queries may look there.
        """
        if len(features.levels) != NUM_LEVELS:
            raise ValueError(f"wanted {NUM_LEVELS} feature levels, got {len(features.levels)}")
        content, position = queries.content(), queries.position()  # [B, Q, C]
        visible, reads_image = _by_level(queries), queries.reads_image()
        sources, source_positions = self._flatten(features.levels)
        guides = _guides(queries, sizes_of(features.levels))
        yield content

        for index, (cross, own, feed_forward) in enumerate(
            zip(
                self.transformer_cross_attention_layers,
                self.transformer_self_attention_layers,
                self.transformer_ffn_layers,
            )
        ):
            level = index % NUM_LEVELS
            looks = inside(content, level)
            for rows, guide in guides[level]:
                looks[:, rows] = guide
            seen = cross(content, position, sources[level], source_positions[level], looks)
            content = (
                seen if reads_image is None else torch.where(reads_image[:, None], seen, content)
            )
            content = own(content, position, visible[level], queries.tokens(level))
            content = feed_forward(content)
            yield content

    def _predict(self, content: Tensor, mask_features: Tensor) -> LayerPrediction:
        queries = self.decoder_norm(content)
        mask_logits = torch.einsum("bqc,bchw->bqhw", self.mask_embed(queries), mask_features)
        return LayerPrediction(queries, mask_logits)

    def _flatten(self, levels: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens [B, h*w, C] and their positions [h*w, C] of every level."""
        sources, positions = [], []
        for index, (level, project) in enumerate(zip(levels, self.input_proj)):
            projected = project(level)
            sources.append(projected.flatten(2).mT + self.level_embed.weight[index])
            positions.append(sine_position(level, projected.shape[1]).flatten(1).mT)
        return sources, positions


def learned_queries(content: nn.Embedding, position: nn.Embedding, batch_size: int) -> QuerySet:
    """The queries of two tables [Q, C], repeated for every image, as the group "object"."""
    rows = [table.weight.expand(batch_size, -1, -1) for table in (content, position)]
    return QuerySet([QueryGroup("object", rows[0], rows[1])])


def _by_level(queries: QuerySet) -> list[Tensor | None]:
    """Who sees whom beside the tokens of every level."""
    if queries.token_groups:
        return [queries.visibility(level) for level in range(NUM_LEVELS)]
    return [queries.visibility()] * NUM_LEVELS


def _guides(
    queries: QuerySet, sizes: Sequence[tuple[int, int]]
) -> list[list[tuple[slice, Tensor]]]:
    """For every level the rows that look inside given masks, and where: Bool [B, Q_g, h*w]."""
    guides: list[list[tuple[slice, Tensor]]] = [[] for _ in sizes]
    first = 0
    for group in queries.groups:
        rows = slice(first, first + len(group))
        first = rows.stop
        if group.guide is not None:
            for found, size in zip(guides, sizes):
                found.append((rows, mask_visibility(group.guide, size)))
    return guides


def mask_visibility(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bool [B, Q, h*w], True where a query may look: inside its mask on a level of `size`.

    A query whose mask is empty there looks everywhere. No gradient passes.
    """
    resized = F.interpolate(mask_logits.detach(), size=size, mode="bilinear", align_corners=False)
    return _inside_or_everywhere(resized)


def _inside_or_everywhere(mask_logits: Tensor) -> Tensor:
    inside = (mask_logits >= 0).flatten(2)  # a logit of 0 is a probability of 0.5
    return inside | ~inside.any(dim=-1, keepdim=True)

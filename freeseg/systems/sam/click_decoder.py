"""Decodes very many clicks about one photo: what they share is computed once, the rest on few rows.

A map has thousands of pixels and a click seven tokens. So no projection of a map is made for a
click: a pixel's key times a token's query is the pixel times the query's projection back, and the
sum of values is the projection of a sum of pixels. The first layer's map is the same for all
clicks, and so are its projections and those of the positions.

Shapes: P clicks, T tokens of each, S pixels of the map, C channels, A channels inside an attention,
M heads, K masks of a click, g side of the map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.modeling.decoder.two_way import NarrowAttention
from freeseg.systems.sam.mask_decoder import NUM_MASKS, MaskDecoder

UPSCALED_AT_ONCE = 4  # maps


@dataclass(frozen=True, eq=False)
class DecodedClicks:
    """What is known of clicks before their masks are made.

    Attributes:
        qualities: [P, K], of the masks for a single prompt.
        tokens: [P, K, C], theirs.
        pixels: [P, S, C].
    """

    qualities: Tensor
    tokens: Tensor
    pixels: Tensor


class ClickDecoder:
    """A `MaskDecoder` for clicks about one photo; its masks but for roundings."""

    def __init__(
        self, decoder: MaskDecoder, embedding: Tensor, positions: Tensor, dense: Tensor
    ) -> None:
        """Computes what all clicks share.

        Args:
            decoder: Whose weights are used.
            embedding: Of the photo, [1, C, g, g].
            positions: Of its pixels, [1, C, g, g].
            dense: What there is where no mask is given, [1, C, 1, 1].
        """
        self.decoder = decoder
        self.grid = embedding.shape[-2:]
        self.places = positions.flatten(2)[0].T.contiguous()  # [S, C]
        self.first = (embedding + dense).flatten(2)[0].T.contiguous()  # [S, C]

    def __call__(self, prompt_tokens: Tensor) -> DecodedClicks:
        """Decodes clicks, given as tokens [P, T - 1 - K, C]."""
        decoder, transformer = self.decoder, self.decoder.transformer
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        position = torch.cat([own.expand(len(prompt_tokens), -1, -1), prompt_tokens], dim=1)
        tokens, pixels = position, self.first[None]
        for layer in transformer.layers:
            tokens, pixels = self._layer(layer, tokens, pixels, position)
        last = transformer.final_attn_token_to_image
        read = self._read(last, tokens + position, pixels)
        tokens = transformer.norm_final_attn(tokens + read)
        qualities = decoder.iou_prediction_head(tokens[:, 0])
        return DecodedClicks(qualities[:, 1:], tokens[:, 2 : 1 + NUM_MASKS], pixels)

    def masks(self, found: DecodedClicks, chosen: Tensor) -> Iterator[Tensor]:
        """Logits [n, 4g, 4g] of what a bool mask [P, K] chooses, in its order, in parts.

        Only the maps of clicks that have such a mask are made larger.
        """
        heads = list(self.decoder.output_hypernetworks_mlps)[1:]
        filters = torch.stack(
            [head(token) for head, token in zip(heads, found.tokens.unbind(1))], dim=1
        )  # [P, K, C/8]
        for clicks in torch.nonzero(chosen.any(1))[:, 0].split(UPSCALED_AT_ONCE):
            maps = found.pixels[clicks].mT.unflatten(2, self.grid)
            upscaled = self.decoder.output_upscaling(maps).flatten(2)  # [n, C/8, 16 * S]
            logits = filters[clicks] @ upscaled
            yield logits[chosen[clicks]].unflatten(1, tuple(4 * side for side in self.grid))

    def _layer(
        self, layer: Any, tokens: Tensor, pixels: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        if layer.is_first:
            tokens = layer.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + position
            tokens = tokens + layer.self_attn(placed, placed, tokens)
        tokens = layer.norm1(tokens)
        read = self._read(layer.cross_attn_token_to_image, tokens + position, pixels)
        tokens = layer.norm2(tokens + read)
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        told = self._tell(layer.cross_attn_image_to_token, tokens + position, tokens, pixels)
        return tokens, layer.norm4(told)

    def _read(self, attention: NarrowAttention, queries: Tensor, pixels: Tensor) -> Tensor:
        """What tokens [P, T, C] read of pixels [P or 1, S, C] at their places: [P, T, C].

        The bias of the keys is the same for all pixels: it falls out of the softmax.
        """
        heads = attention.num_heads
        projected = attention.q_proj(queries)  # [P, T, A]
        scores = _scores(attention, projected, attention.k_proj.weight, pixels, self.places)
        weights = scores.softmax(-1)  # [P, M * T, S]
        summed = weights @ pixels  # [P, M * T, C]
        values = attention.v_proj.weight.unflatten(0, (heads, -1))  # [M, A/M, C]
        read = torch.einsum("pmtc,mac->ptma", summed.unflatten(1, (heads, -1)), values).flatten(2)
        told: Tensor = attention.out_proj(read + attention.v_proj.bias)
        return told

    def _tell(
        self, attention: NarrowAttention, keys: Tensor, values: Tensor, pixels: Tensor
    ) -> Tensor:
        """Pixels [P or 1, S, C] and what they are told by tokens [P, T, C]: [P, S, C].

        The weights of a head add up to one, so its share of the bias is added to every value.
        """
        heads = attention.num_heads
        projected = attention.k_proj(keys)  # [P, T, A]
        scores = _scores(attention, projected, attention.q_proj.weight, pixels, self.places)
        own = torch.einsum(
            "ptma,ma->pmt",
            projected.unflatten(2, (heads, -1)),
            attention.q_proj.bias.unflatten(0, (heads, -1)),
        )
        scale = (projected.shape[-1] // heads) ** -0.5
        scores = scores.unflatten(1, (heads, -1)) + scale * own[..., None]  # [P, M, T, S]
        weights = scores.softmax(2).flatten(1, 2)  # [P, M * T, S]
        outward = attention.out_proj.weight.unflatten(1, (heads, -1))  # [C, M, A/M]
        given = attention.v_proj(values).unflatten(2, (heads, -1))  # [P, T, M, A/M]
        told = torch.einsum("ptma,cma->pmtc", given, outward).flatten(1, 2)  # [P, M * T, C]
        told = told + attention.out_proj.bias / heads
        return torch.baddbmm(pixels.expand(len(told), -1, -1), weights.mT, told)


def _scores(
    attention: NarrowAttention, projected: Tensor, weight: Tensor, pixels: Tensor, places: Tensor
) -> Tensor:
    """Products [P, M * T, S] of projected tokens [P, T, A] and of the pixels' projection by weight.

    They are scaled as of an attention, and without the projection's bias.
    """
    heads = attention.num_heads
    parts = projected.unflatten(2, (heads, -1)) * (projected.shape[-1] // heads) ** -0.5
    back = torch.einsum("ptma,mac->pmtc", parts, weight.unflatten(0, (heads, -1))).flatten(1, 2)
    if len(pixels) == 1:
        return F.linear(back, pixels[0] + places)
    return torch.baddbmm(F.linear(back, places), back, pixels.mT)

"""Decodes very many clicks about one photo: what they share is computed once, the rest on few rows.

A map has thousands of pixels and a click seven tokens. So no projection of a map is made for a
click: a pixel's key times a token's query is the pixel times the query's projection back, and the
sum of values is the projection of a sum of pixels. The first layer's map is the same for all
clicks, and so are its projections and those of the positions.

Shapes: P clicks, T tokens of each, S pixels of the map, C channels, A channels inside an attention,
M heads, K masks of a click, g side of the map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

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
        self,
        decoder: MaskDecoder,
        embedding: Tensor,
        positions: Tensor,
        dense: Tensor,
        details: Sequence[Tensor] = (),
    ) -> None:
        """Computes what all clicks share.

        Args:
            decoder: Whose weights are used.
            embedding: Of the photo, [1, C, g, g].
            positions: Of its pixels, [1, C, g, g].
            dense: What there is where no mask is given, [1, C, 1, 1].
            details: Of the photo, see `MaskDecoder.upscale`.
        """
        self.decoder, self.details = decoder, details
        self.grid = embedding.shape[-2:]
        self.first = (embedding + dense).flatten(2)[0].T.contiguous()  # [S, C]
        places = positions.flatten(2)[0].T.contiguous()  # [S, C]
        self.projected: dict[nn.Module, Tensor] = {}  # by the layer that has projected it
        layers: Any = decoder.transformer.layers
        for number, layer in enumerate(layers):
            seen = places if number else self.first + places
            read, tell = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
            self._project(read, read.k_proj, seen)
            self._project(tell, tell.q_proj, seen)
            if not number:
                self._project(read, read.v_proj, self.first)
        last = decoder.transformer.final_attn_token_to_image
        self._project(last, last.k_proj, places)

    def __call__(self, prompt_tokens: Tensor) -> DecodedClicks:
        """Decodes clicks, given as tokens [P, T - 1 - K, C]."""
        decoder, transformer = self.decoder, self.decoder.transformer
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        position = torch.cat([own.expand(len(prompt_tokens), -1, -1), prompt_tokens], dim=1)
        tokens, pixels = position, None
        for layer in transformer.layers:
            tokens, pixels = self._layer(layer, tokens, pixels, position)
        last = transformer.final_attn_token_to_image
        read = self._read(last, tokens + position, pixels)
        tokens = transformer.norm_final_attn(tokens + read)
        assert pixels is not None
        qualities = decoder.iou_prediction_head(tokens[:, 0])
        used, masks = decoder.for_one, tokens[:, 1 : 1 + NUM_MASKS]
        return DecodedClicks(qualities[:, used], masks[:, used], pixels)

    def masks(self, found: DecodedClicks, chosen: Tensor) -> Iterator[Tensor]:
        """Logits [n, 4g, 4g] of what a bool mask [P, K] chooses, in its order, in parts.

        Only the maps of clicks that have such a mask are made larger.
        """
        heads = list(self.decoder.output_hypernetworks_mlps)[self.decoder.for_one]
        filters = torch.stack(
            [head(token) for head, token in zip(heads, found.tokens.unbind(1))], dim=1
        )  # [P, K, C/8]
        for clicks in torch.nonzero(chosen.any(1))[:, 0].split(UPSCALED_AT_ONCE):
            maps = found.pixels[clicks].mT.unflatten(2, self.grid)
            upscaled = self.decoder.upscale(maps, self.details).flatten(2)  # [n, C/8, 16 * S]
            logits = filters[clicks] @ upscaled
            yield logits[chosen[clicks]].unflatten(1, tuple(4 * side for side in self.grid))

    def _project(self, attention: NarrowAttention, layer: nn.Module, seen: Tensor) -> None:
        """Keeps what a linear layer of an attention makes of pixels [S, C]: [M, S, A/M]."""
        projected = layer(seen).unflatten(1, (attention.num_heads, -1)).transpose(0, 1)
        self.projected[layer] = projected.contiguous()

    def _layer(
        self, layer: Any, tokens: Tensor, pixels: Tensor | None, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refines tokens [P, T, C] and pixels [P, S, C]; None: those that all clicks share."""
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

    def _read(self, attention: NarrowAttention, queries: Tensor, pixels: Tensor | None) -> Tensor:
        """What tokens [P, T, C] read of pixels at their places: [P, T, C]."""
        projected = _heads(attention, attention.q_proj(queries))  # [P, M, T, A/M]
        weights = self._scores(projected, attention.k_proj, pixels).softmax(-1)  # [P, M, T, S]
        if pixels is None:
            values = self.projected[attention.v_proj]  # [M, S, A/M]
            read = _by_head(weights, values)
        else:
            summed = (weights.flatten(1, 2) @ pixels).unflatten(1, projected.shape[1:3])
            read = _by_head(
                summed, attention.v_proj.weight.unflatten(0, (attention.num_heads, -1)).mT
            )
            read = read + _heads(attention, attention.v_proj.bias[None, None])
        told: Tensor = attention.out_proj(read.transpose(1, 2).flatten(2))
        return told

    def _tell(
        self, attention: NarrowAttention, keys: Tensor, values: Tensor, pixels: Tensor | None
    ) -> Tensor:
        """Pixels and what they are told by tokens [P, T, C]: [P, S, C].

        The weights of a head add up to one, so its share of the bias is added to every value.
        """
        projected = _heads(attention, attention.k_proj(keys))
        weights = self._scores(projected, attention.q_proj, pixels).softmax(2)  # [P, M, T, S]
        given = _heads(attention, attention.v_proj(values))  # [P, M, T, A/M]
        outward = attention.out_proj.weight.T.unflatten(0, (attention.num_heads, -1))
        told = _by_head(given, outward) + attention.out_proj.bias / attention.num_heads
        seen = self.first.expand(len(told), -1, -1) if pixels is None else pixels
        return torch.baddbmm(seen, weights.flatten(1, 2).mT, told.flatten(1, 2))

    def _scores(self, tokens: Tensor, layer: nn.Linear, pixels: Tensor | None) -> Tensor:
        """Scaled products [P, M, T, S] of tokens [P, M, T, A/M] and a layer's projection of pixels.

        That of their places, with the bias, is there; so is that of the pixels all clicks share.
        """
        tokens = tokens * tokens.shape[-1] ** -0.5
        shared = _by_head(tokens, self.projected[layer].mT)
        if pixels is None:
            return shared
        weight = layer.weight.unflatten(0, (tokens.shape[1], -1))  # [M, A/M, C]
        back = _by_head(tokens, weight).flatten(1, 2)  # [P, M * T, C]
        return (back @ pixels.mT).unflatten(1, tokens.shape[1:3]).add_(shared)


def _heads(attention: NarrowAttention, projected: Tensor) -> Tensor:
    """[P, M, T, A/M] of [P, T, A]."""
    return projected.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)


def _by_head(rows: Tensor, matrices: Tensor) -> Tensor:
    """[P, M, T, Y] of rows [P, M, T, X] and one matrix for every head, [M, X, Y]."""
    together = rows.transpose(0, 1).flatten(1, 2)  # [M, P * T, X]
    return (together @ matrices).unflatten(1, (len(rows), -1)).transpose(0, 1)

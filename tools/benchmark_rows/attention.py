"""Attention between many pixels and few others: products that are done to the few instead."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from benchmark_rows.contest import Contest, Row, assert_close
from freeseg.layers import sine_position
from freeseg.systems.freeseg.interaction import TextAttention
from freeseg.systems.oneformer.decoder import ClassTransformer

SIDE, CHANNELS, HEADS = 160, 256, 8  # of the mask features of a 640 x 640 image
NUM_TEXTS, TEXT_CHANNELS, HIDDEN = 172, 512, 2048  # FreeSeg on COCO-Stuff, with "no object"
NUM_QUERIES, NUM_LAYERS = 149, 2  # OneFormer on ADE20K
TOLERANCE = 1e-4


def _same(ours, theirs):
    assert_close([ours], [theirs], TOLERANCE)


def _context_interaction() -> Contest:
    """Theirs projects every pixel to and from the width inside, as it is written in the paper."""
    torch.manual_seed(0)
    attention = TextAttention(
        channels=CHANNELS,
        text_channels=TEXT_CHANNELS,
        hidden_channels=HIDDEN,
        num_heads=HEADS,
        dropout=0.0,
    ).eval()
    pixels = torch.randn(1, SIDE * SIDE, CHANNELS)
    text = torch.randn(1, NUM_TEXTS, TEXT_CHANNELS)

    @torch.inference_mode()
    def ours():
        return attention(pixels, text)

    @torch.inference_mode()
    def theirs():
        queries, keys, values = (
            x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for x in (attention.q_proj(pixels), attention.k_proj(text), attention.v_proj(text))
        )
        read = F.scaled_dot_product_attention(queries, keys, values)
        return pixels + attention.out_proj(read.transpose(1, 2).flatten(2))

    return Contest(ours, theirs, _same)


def _class_transformer() -> Contest:
    """Theirs makes maps of the projected features and of the positions, and projects those."""
    torch.manual_seed(0)
    transformer = ClassTransformer(
        channels=CHANNELS, num_heads=HEADS, hidden_channels=2048, num_layers=NUM_LAYERS, dropout=0.0
    ).eval()
    projection = torch.nn.Conv2d(CHANNELS, CHANNELS, kernel_size=1)
    features = torch.randn(1, CHANNELS, SIDE, SIDE).to(memory_format=torch.channels_last)
    content, position = torch.randn(2, 1, NUM_QUERIES, CHANNELS)

    @torch.inference_mode()
    def ours():
        return transformer(content, position, features, projection)

    @torch.inference_mode()
    def theirs():
        pixels = projection(features).flatten(2).mT
        sine = sine_position(features, CHANNELS).flatten(1).mT[None]
        refined = content
        for layer in transformer.decoder["layers"]:
            _, (key_weight, key_bias), (value_weight, value_bias) = (
                layer.multihead_attn.projections()
            )
            keys = F.linear(pixels + sine, key_weight, key_bias)
            refined = layer(refined, position, keys, F.linear(sine, value_weight, value_bias))
        return transformer.decoder["norm"](refined)

    return Contest(ours, theirs, _same)


ROWS = (
    Row(
        "context-interaction",
        f"context interaction of FreeSeg R50, {SIDE}x{SIDE} pixels, {NUM_TEXTS} texts",
        "pixels are projected, not texts",
        1.5,
        _context_interaction,
    ),
    Row(
        "class-transformer",
        f"class transformer of OneFormer R50, {SIDE}x{SIDE} pixels",
        "positions are projected as maps",
        1.25,
        _class_transformer,
    ),
)

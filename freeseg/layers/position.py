"""Sine position encoding of a feature map (DETR, arXiv 2005.12872, appendix A.4, in 2-D)."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0
NUM_CACHED = 12  # encodings kept: three levels and the mask features of three picture sizes
EPSILON = 1e-6  # keeps the last coordinate just under a full turn, as published weights expect


def sine_position(feature_map: Tensor, channels: int) -> Tensor:
    """Encodes row and column of every pixel of a [B, C, h, w] map.

    The first half of the channels encodes the row, the second the column, each alternating sine
    and cosine of the coordinate scaled to one turn over the map. Encodings of the last sizes are
    kept, so do not write into one.

    Returns:
        float32 [channels, h, w] on the map's device.

    Raises:
        ValueError: When `channels` is no multiple of 4.
    """
    if channels % 4:
        raise ValueError(f"channels must be a multiple of 4, got {channels}")
    # A tracer must see the computation: its tensors would be of no use later.
    encode = _encode.__wrapped__ if torch.compiler.is_compiling() else _encode
    return encode(*feature_map.shape[-2:], channels, feature_map.device)


@functools.lru_cache(maxsize=NUM_CACHED)
@torch.inference_mode(False)  # what inference leaves here, training may find
def _encode(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    exponent = torch.arange(channels // 4, dtype=torch.float32, device=device)
    wavelength = TEMPERATURE ** (exponent * 4 / channels)  # [channels / 4]
    rows = _waves(height, wavelength)[:, :, None].expand(-1, -1, width)
    columns = _waves(width, wavelength)[:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns])


def _waves(length: int, wavelength: Tensor) -> Tensor:
    """[channels / 2, length], sine and cosine interleaved."""
    steps = torch.arange(1, length + 1, dtype=torch.float32, device=wavelength.device)
    angle = steps / (length + EPSILON) * (2 * math.pi) / wavelength[:, None]
    return torch.stack([angle.sin(), angle.cos()], dim=1).flatten(0, 1)

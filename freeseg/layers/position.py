"""Sine position encoding (DETR, arXiv 2005.12872, appendix A.4) of feature maps and coordinates."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

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
    return _kept(_encode)(*feature_map.shape[-2:], channels, feature_map.device)


def padded_sine_position(
    padding: Tensor,
    channels: int,
    *,
    temperatures: tuple[float, float] = (TEMPERATURE, TEMPERATURE),
    is_normalised: bool = True,
) -> Tensor:
    """As `sine_position` where pictures of unlike sizes share a batch: padding is not counted.

    Args:
        padding: Bool [B, h, w], True where there is no picture.
        channels: A multiple of 4.
        temperatures: Of rows and of columns: the longest wave by the shortest.
        is_normalised: Whether a picture is one turn; else a pixel is one radian.

    Returns:
        float32 [B, channels, h, w].

    Raises:
        ValueError: When `channels` is no multiple of 4.
    """
    if channels % 4:
        raise ValueError(f"channels must be a multiple of 4, got {channels}")
    halves = []
    for axis, temperature in zip((1, 2), temperatures):
        steps = (~padding).cumsum(axis, dtype=torch.float32)  # [B, h, w]
        if is_normalised:
            last = steps.narrow(axis, steps.shape[axis] - 1, 1)
            steps = steps / (last + EPSILON) * (2 * math.pi)
        halves.append(sines(steps, channels // 2, temperature))
    return torch.cat(halves, dim=-1).permute(0, 3, 1, 2)  # [B, C, h, w]


def sines(angles: Tensor, channels: int, temperature: float = TEMPERATURE) -> Tensor:
    """Waves of angles: [...] to [..., channels], sine and cosine interleaved, the shortest first.

    Args:
        angles: In radians; a coordinate in [0, 1] is one turn when it is multiplied by 2 pi.
        channels: An even number.
        temperature: The longest wave by the shortest, but for the last step.
    """
    waves = angles[..., None] / _wavelengths(channels, temperature, angles)
    return torch.stack([waves.sin(), waves.cos()], dim=-1).flatten(-2)


def projected_sine_position(feature_map: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """What a linear layer makes of `sine_position`, from h + w products instead of h * w.

    Args:
        feature_map: [B, C, h, w].
        weight: Of the layer, [D, channels].

    Returns:
        [h, 1, D] and [1, w, D], whose sum is the product of all pixels.
    """
    row_weight, column_weight = weight.chunk(2, dim=1)
    row_waves, column_waves = (
        _kept(_waves)(length, weight.shape[1], feature_map.device).mT.to(weight)
        for length in feature_map.shape[-2:]
    )
    return (row_waves @ row_weight.mT)[:, None], (column_waves @ column_weight.mT)[None]


@functools.lru_cache(maxsize=NUM_CACHED)
@torch.inference_mode(False)  # what inference leaves here, training may find
def _encode(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    rows = _kept(_waves)(height, channels, device)[:, :, None].expand(-1, -1, width)
    columns = _kept(_waves)(width, channels, device)[:, None, :].expand(-1, height, -1)
    return torch.cat([rows, columns])


@functools.lru_cache(maxsize=2 * NUM_CACHED)
@torch.inference_mode(False)
def _waves(length: int, channels: int, device: torch.device) -> Tensor:
    """[channels / 2, length], sine and cosine interleaved."""
    steps = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    wavelengths = _wavelengths(channels // 2, TEMPERATURE, steps)
    angle = steps / (length + EPSILON) * (2 * math.pi) / wavelengths[:, None]
    return torch.stack([angle.sin(), angle.cos()], dim=1).flatten(0, 1)


def _wavelengths(channels: int, temperature: float, like: Tensor) -> Tensor:
    """Of every pair of channels, [channels / 2]; 1 is the shortest."""
    exponent = torch.arange(channels // 2, dtype=torch.float32, device=like.device)
    return temperature ** (exponent * 2 / channels)


def _kept(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A cached function, or what is under its cache: a tracer must see the computation."""
    return compute.__wrapped__ if torch.compiler.is_compiling() else compute  # type: ignore

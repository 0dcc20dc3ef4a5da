"""Pools a fixed grid of bilinear samples out of each region of a feature map.

Bilinear sampling and averaging over the samples of a bin are linear in each axis by itself, so a
region is two small matrices applied to the feature map, one per axis.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


def roi_align(
    input: Tensor,
    boxes: Tensor | list[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Pool `boxes` ([R, 5] with the image index first, or [R_i, 4] per image) from [N, C, H, W].

    `sampling_ratio` samples per bin and axis, or as many as the bin has pixels if not positive;
    `aligned` puts pixel centres at half integers.
    """
    if isinstance(boxes, (list, tuple)):
        indexed = [torch.cat([b.new_full((len(b), 1), i), b], 1) for i, b in enumerate(boxes)]
        boxes = torch.cat(indexed)
    height, width = (output_size,) * 2 if isinstance(output_size, int) else output_size
    pooled = input.new_zeros(len(boxes), input.shape[1], height, width)
    if pooled.numel() == 0:
        return pooled + input.sum() * 0
    regions = []
    for image_index, x0, y0, x1, y1 in boxes.double().tolist():
        options = (spatial_scale, sampling_ratio, aligned)
        rows = _pooling_matrix(y0, y1, height, input.shape[2], *options).to(input)
        columns = _pooling_matrix(x0, x1, width, input.shape[3], *options).to(input)
        regions.append(rows @ input[int(image_index)] @ columns.mT)  # [C, height, width]
    return torch.stack(regions)


def _pooling_matrix(
    start: float,
    end: float,
    num_bins: int,
    size: int,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Return [bins, size]: the weight of each pixel along one axis in each bin's mean."""
    start, end = start * spatial_scale, end * spatial_scale
    length = end - start if aligned else max(end - start, 1.0)
    start -= 0.5 if aligned else 0.0
    bin_length = length / num_bins
    num_samples = sampling_ratio if sampling_ratio > 0 else math.ceil(bin_length)
    matrix = torch.zeros(num_bins, size, dtype=torch.float64)
    if num_samples <= 0:
        return matrix
    within_bin = (torch.arange(num_samples, dtype=torch.float64) + 0.5) / num_samples
    bins = torch.arange(num_bins, dtype=torch.float64)[:, None]
    positions = start + (bins + within_bin) * bin_length  # [bins, samples]
    is_outside = (positions < -1.0) | (positions > size)
    positions = positions.clamp(0, size - 1)
    low = positions.floor()
    fraction = positions - low
    share = (~is_outside).double() / num_samples
    high = (low + 1).clamp(max=size - 1)
    matrix.scatter_add_(1, low.long(), share * (1 - fraction))
    matrix.scatter_add_(1, high.long(), share * fraction)
    return matrix


class ROIAlign(nn.Module):
    """`roi_align` as a module; aligned unless said otherwise."""

    def __init__(
        self, output_size: Any, spatial_scale: float, sampling_ratio: int, aligned: bool = True
    ):
        super().__init__()
        self.output_size, self.aligned = output_size, aligned
        self.spatial_scale, self.sampling_ratio = spatial_scale, sampling_ratio

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        """Pool [R, 5] regions (image index, x0, y0, x1, y1) from [N, C, H, W]."""
        assert rois.dim() == 2, rois.shape
        assert rois.size(1) == 5, rois.shape
        options = (self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)
        features = input.dequantize() if input.is_quantized else input
        return roi_align(features, rois, *options)

    def __repr__(self) -> str:
        names = ("output_size", "spatial_scale", "sampling_ratio", "aligned")
        return f"ROIAlign({', '.join(f'{name}={getattr(self, name)}' for name in names)})"

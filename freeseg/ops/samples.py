"""What every implementation of multi-scale deformable attention is given.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
L levels, P points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int32, torch.int64)
MAX_SIDE = 2**31 - 1  # pixels of one level are numbered in 32 bits, everything else in 64


@dataclass(frozen=True)
class Samples:
    """Checked arguments in the form that kernels read.

    Attributes:
        value: [B, S, M, D], any layout.
        sizes: int64 [L, 2], (height, width), contiguous.
        starts: int64 [L], contiguous.
        locations: [B, Q, M, L, P, 2], contiguous, float32, or float64 for a float64 value.
        weights: [B, Q, M, L, P], likewise.
    """

    value: Tensor
    sizes: Tensor
    starts: Tensor
    locations: Tensor
    weights: Tensor

    @classmethod
    def prepare(
        cls,
        value: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> Samples:
        """Brings arguments that `check_arguments` let pass to one device and number type."""
        check_levels(value, spatial_shapes, level_start_index)
        sum_dtype = torch.promote_types(value.dtype, torch.float32)
        return cls(
            value,
            spatial_shapes.to(value.device, torch.int64).contiguous(),
            level_start_index.to(value.device, torch.int64).contiguous(),
            sampling_locations.to(sum_dtype).contiguous(),
            attention_weights.to(sum_dtype).contiguous(),
        )

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """[B, Q, M * D]."""
        batch_size, _, num_heads, channels = self.value.shape
        return batch_size, self.locations.shape[1], num_heads * channels


def check_arguments(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> None:
    """Refuses wrong shapes, number types and devices; reads no values.

    Raises:
        ValueError: On a shape or device.
        TypeError: On a number type.
    """
    _check_dtypes(
        FLOATS,
        value=value,
        sampling_locations=sampling_locations,
        attention_weights=attention_weights,
    )
    _check_dtypes(INTEGERS, spatial_shapes=spatial_shapes, level_start_index=level_start_index)
    _check_shapes(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    others = {
        "sampling_locations": sampling_locations,
        "attention_weights": attention_weights,
        "spatial_shapes": spatial_shapes,
        "level_start_index": level_start_index,
    }
    for name, tensor in others.items():
        is_small_table = tensor.dtype in INTEGERS
        if tensor.device != value.device and not (is_small_table and tensor.device.type == "cpu"):
            raise ValueError(f"{name} is on {tensor.device}, value on {value.device}")
        if not is_small_table and (tensor.dtype == torch.float64) != (value.dtype == torch.float64):
            raise TypeError(
                f"{name} is {tensor.dtype}, value {value.dtype}: float64 goes with float64 only"
            )


def check_levels(value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor) -> None:
    """Refuses levels that do not fill the value one after the other.

    Tables on a GPU are not read here, which would wait for it: the kernels check them.

    Raises:
        ValueError: When they do not.
    """
    if spatial_shapes.device.type != "cpu" or level_start_index.device.type != "cpu":
        return
    start = 0
    for level, (height, width) in enumerate(spatial_shapes.tolist()):
        if height < 1 or width < 1 or height * width > MAX_SIDE:
            raise ValueError(f"spatial_shapes has a level of {height} x {width} pixels")
        if int(level_start_index[level]) != start:
            raise ValueError(
                f"level_start_index must be {start} for level {level}, "
                f"got {int(level_start_index[level])}"
            )
        start += height * width
    if start != value.shape[1]:
        raise ValueError(f"value holds {value.shape[1]} pixels, spatial_shapes add up to {start}")


def _check_dtypes(wanted: tuple[torch.dtype, ...], **tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype not in wanted:
            raise TypeError(f"{name} must be one of {wanted}, got {tensor.dtype}")


def _check_shapes(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> None:
    if value.dim() != 4:
        raise ValueError(f"value must be [B, S, M, D], got shape {tuple(value.shape)}")
    batch_size, _, num_heads, _ = value.shape
    if spatial_shapes.dim() != 2 or spatial_shapes.shape[1] != 2:
        raise ValueError(f"spatial_shapes must be [L, 2], got {tuple(spatial_shapes.shape)}")
    num_levels = spatial_shapes.shape[0]
    if level_start_index.shape != (num_levels,):
        raise ValueError(
            f"level_start_index must be [{num_levels}], got {tuple(level_start_index.shape)}"
        )
    if sampling_locations.dim() != 6 or sampling_locations.shape[5] != 2:
        raise ValueError(
            f"sampling_locations must be [B, Q, M, L, P, 2], got {tuple(sampling_locations.shape)}"
        )
    found = tuple(sampling_locations.shape[axis] for axis in (0, 2, 3))
    if found != (batch_size, num_heads, num_levels):
        raise ValueError(
            f"sampling_locations holds (B, M, L) = {found}, "
            f"value and spatial_shapes hold {(batch_size, num_heads, num_levels)}"
        )
    if attention_weights.shape != sampling_locations.shape[:5]:
        raise ValueError(
            f"attention_weights must be {tuple(sampling_locations.shape[:5])}, "
            f"got {tuple(attention_weights.shape)}"
        )

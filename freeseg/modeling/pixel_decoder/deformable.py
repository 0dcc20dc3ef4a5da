"""Pixel decoder: deformable self-attention across scales, then one top-down path to stride 4.

Shapes: B images, C channels, L levels, S summed pixels of all levels, h w feature size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import fvcore.nn.weight_init as weight_init
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from freeseg.config import pixel_decoder_arguments
from freeseg.layers import DeformableEncoderLayer, pixel_centres, sine_position
from freeseg.names import register
from freeseg.structures import sizes_of

NUM_DECODER_LEVELS = 3  # coarsest maps handed to the query decoder, in every release
NUM_NORM_GROUPS = 32


@register(SEM_SEG_HEADS_REGISTRY)
class MSDeformAttnPixelDecoder(nn.Module):
    """Mask2Former's pixel decoder (arXiv 2112.01527, section 3.2 and appendix)."""

    @configurable
    def __init__(
        self,
        *,
        input_shape: Mapping[str, ShapeSpec],
        encoder_features: Sequence[str],
        channels: int,
        mask_channels: int,
        norm: str,
        common_stride: int,
        encoder: Mapping[str, Any],
    ) -> None:
        """Builds the decoder for the maps of a backbone.

        Args:
            input_shape: Channels and stride of the backbone maps it reads.
            encoder_features: Names of the maps that the deformable encoder mixes.
            channels: Width of all output maps.
            mask_channels: Width of the mask embedding.
            norm: Norm of the top-down path, as ``detectron2.layers.get_norm`` takes it.
            common_stride: Stride of the mask embedding.
            encoder: Arguments of `DeformableEncoder` beside channels and num_levels.

        Raises:
            ValueError: When the maps between `common_stride` and the encoder's are missing.
        """
        super().__init__()
        fine_to_coarse = sorted(input_shape, key=lambda name: input_shape[name].stride)
        mixed = [name for name in fine_to_coarse if name in set(encoder_features)]
        self.encoder_features = mixed[::-1]  # coarse to fine
        self.input_proj = nn.ModuleList(
            _input_projection(input_shape[name].channels, channels)
            for name in self.encoder_features
        )
        self.transformer = DeformableEncoder(channels=channels, num_levels=len(mixed), **encoder)
        finest = min(input_shape[name].stride for name in mixed)
        num_steps = int(math.log2(finest / common_stride))
        # Parity: the releases number the top-down steps from the finest map on.
        self.top_down_features = fine_to_coarse[:num_steps][::-1]
        if len(self.top_down_features) < num_steps or set(self.top_down_features) & set(mixed):
            raise ValueError(
                f"cannot reach stride {common_stride} from {finest}: need one map per step "
                f"outside {mixed}, got {fine_to_coarse}"
            )
        for index, name in enumerate(fine_to_coarse[:num_steps], start=1):
            lateral, output = _top_down_step(input_shape[name].channels, channels, norm)
            self.add_module(f"adapter_{index}", lateral)
            self.add_module(f"layer_{index}", output)
        self.mask_features = Conv2d(channels, mask_channels, kernel_size=1)
        weight_init.c2_xavier_fill(self.mask_features)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        return pixel_decoder_arguments(cfg, input_shape)

    def forward(self, features: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decodes backbone maps, always in float32 (deformable sampling loses too much below).

        Args:
            features: {name: [B, C, h, w]}.

        Returns:
            Mask embedding [B, C_mask, H/4, W/4], and the three coarsest maps, coarse to fine.
        """
        device_type = next(iter(features.values())).device.type
        with torch.autocast(device_type=device_type, enabled=False):
            projected = [
                project(features[name].float())
                for name, project in zip(self.encoder_features, self.input_proj)
            ]
            levels = self.transformer(projected)
            for step, name in enumerate(self.top_down_features):
                number = len(self.top_down_features) - step
                lateral = getattr(self, f"adapter_{number}")(features[name].float())
                upsampled = F.interpolate(
                    levels[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False
                )
                levels.append(getattr(self, f"layer_{number}")(lateral + upsampled))
            return self.mask_features(levels[-1]), levels[:NUM_DECODER_LEVELS]


class DeformableEncoder(nn.Module):
    """Mixes the maps of a pyramid with deformable self-attention layers."""

    def __init__(
        self,
        *,
        channels: int,
        num_levels: int,
        hidden_channels: int,
        dropout: float,
        num_heads: int,
        num_layers: int,
        num_points: int,
    ) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.empty(num_levels, channels))
        nn.init.normal_(self.level_embed)
        layers = nn.ModuleList(
            DeformableEncoderLayer(
                channels=channels,
                hidden_channels=hidden_channels,
                dropout=dropout,
                num_levels=num_levels,
                num_heads=num_heads,
                num_points=num_points,
            )
            for _ in range(num_layers)
        )
        # Parity: the releases nest the layers one name deeper, as encoder.layers.N
        self.encoder = nn.ModuleDict({"layers": layers})

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Takes and returns maps [B, C, h, w], in the same order."""
        sizes = sizes_of(maps)
        pixels = [height * width for height, width in sizes]
        source = torch.cat([map_.flatten(2).mT for map_ in maps], dim=1)  # [B, S, C]
        position = torch.cat(
            [
                sine_position(map_, map_.shape[1]).flatten(1).mT + self.level_embed[level]
                for level, map_ in enumerate(maps)
            ]
        )  # [S, C]
        spatial_shapes = torch.tensor(sizes, device=source.device)
        starts = torch.tensor([sum(pixels[:level]) for level in range(len(maps))])
        level_start_index = starts.to(source.device)
        references = pixel_centres(sizes, source)

        for layer in self.encoder["layers"]:  # type: ignore[attr-defined]
            source = layer(source, position, references, spatial_shapes, level_start_index)

        # As views of the tokens PyTorch would not take maps of one image for channels-last.
        return [
            part.mT.unflatten(2, size).clone(memory_format=torch.channels_last)  # [B, C, h, w]
            for part, size in zip(source.split(pixels, dim=1), sizes)
        ]


def _input_projection(in_channels: int, channels: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, channels, kernel_size=1)
    nn.init.xavier_uniform_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return nn.Sequential(convolution, nn.GroupNorm(NUM_NORM_GROUPS, channels))


def _top_down_step(in_channels: int, channels: int, norm: str) -> tuple[nn.Module, nn.Module]:
    lateral = Conv2d(
        in_channels, channels, kernel_size=1, bias=norm == "", norm=get_norm(norm, channels)
    )
    output = Conv2d(
        channels,
        channels,
        kernel_size=3,
        padding=1,
        bias=norm == "",
        norm=get_norm(norm, channels),
        activation=F.relu_,
    )
    weight_init.c2_xavier_fill(lateral)
    weight_init.c2_xavier_fill(output)
    return lateral, output

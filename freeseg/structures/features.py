"""What a prompt or a decoder may read of an image, computed once per image.

Shapes: B images, C channels, h w feature size, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """Output of the pixel decoder for a batch of padded images.

    Attributes:
        levels: Feature pyramid, coarse to fine, each [B, C, h, w]; what `LSegHead` needs beside
            the embedding.
        mask_features: Per-pixel embedding at stride 4, [B, C_mask, H/4, W/4].
        padded_size: (H, W) of the padded batch, in pixels.
        image_sizes: (height, width) of every image inside the padding, in pixels.
    """

    levels: tuple[Tensor, ...]
    mask_features: Tensor
    padded_size: tuple[int, int]
    image_sizes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        batch_sizes = {level.shape[0] for level in self.levels} | {self.mask_features.shape[0]}
        if batch_sizes != {len(self.image_sizes)}:
            raise ValueError(
                f"features hold batches of {sorted(batch_sizes)} images, "
                f"but {len(self.image_sizes)} image sizes were given"
            )

    @property
    def batch_size(self) -> int:
        return len(self.image_sizes)

    def select(self, indices: Sequence[int]) -> ImageFeatures:
        """Features of the images at `indices`, which may repeat."""
        if list(indices) == list(range(self.batch_size)):
            return self
        rows = torch.tensor(list(indices), device=self.mask_features.device)
        return ImageFeatures(
            tuple(level[rows] for level in self.levels),
            self.mask_features[rows],
            self.padded_size,
            tuple(self.image_sizes[index] for index in indices),
        )


def sizes_of(levels: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(height, width) of every map of a pyramid."""
    return [(level.shape[-2], level.shape[-1]) for level in levels]

"""Crops for CLIP's image tower: pictures of what masks show.

Shapes: Q masks, N of them not empty, D feature width, H W image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.ops import mask_areas, mask_boxes, masked_crops
from freeseg.text import ImageTextEncoder, TextEncoder

FILLS = ("mean", "zero")  # what the background of a crop is painted with
CROP_BATCH = 32  # crops that are cut at once: each needs as many rows of the image as it gets


@dataclass(frozen=True)
class MaskCrops:
    """How masks become pictures for the image tower.

    Attributes:
        min_probability: A pixel is in a proposal's mask above it.
        fill: What the background is painted with, one of `FILLS`.
        expand_ratio: Size of the crop relative to the mask's box.
    """

    min_probability: float = 0.5
    fill: str = "mean"
    expand_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise ValueError(f"wanted a fill of {', '.join(FILLS)}, got {self.fill!r}")


def require_image_tower(encoder: TextEncoder) -> ImageTextEncoder:
    """The encoder, if it can look at crops.

    Raises:
        TypeError: When it knows texts alone.
    """
    if isinstance(encoder, ImageTextEncoder):
        return encoder
    raise TypeError(
        f"{type(encoder).__name__} has no image tower to classify regions with: "
        "set MODEL.CLIP_ADAPTER.CLIP_ENSEMBLE False"
    )


def crop_features(
    encoder: ImageTextEncoder, image: Tensor, masks: Tensor, crops: MaskCrops
) -> tuple[Tensor, Tensor]:
    """Image features of what masks show.

    Args:
        encoder: With an image tower.
        image: RGB [3, H, W], 0..255.
        masks: Bool [Q, H, W].
        crops: How to cut.

    Returns:
        Features [N, D], and bool [Q], which masks they belong to: those that are not empty.
    """
    is_shown = mask_areas(masks) > 0
    masks = masks[is_shown]
    if not len(masks):
        return image.new_zeros(0, encoder.dim, dtype=torch.float32), is_shown
    pictures = masked_pictures(encoder, image, masks, crops)
    return encoder.encode_image(pictures), is_shown


def masked_pictures(
    encoder: ImageTextEncoder, image: Tensor, masks: Tensor, crops: MaskCrops
) -> Tensor:
    """Crops [N, 3, h, w] of `image` around bool masks [N, H, W], ready for the image tower."""
    mean, std = _pixel_statistics(encoder, image)
    fill = mean if crops.fill == "mean" else torch.zeros_like(mean)
    boxes = _expand(mask_boxes(masks), crops.expand_ratio, masks.shape[-2:])
    parts = [
        masked_crops(image.float() - fill, some, box, encoder.image_size)
        for some, box in zip(masks.split(CROP_BATCH), boxes.split(CROP_BATCH))
    ]
    return (torch.cat(parts) + fill - mean) / std


def paint_background(encoder: ImageTextEncoder, image: Tensor, mask: Tensor) -> Tensor:
    """The picture [3, h, w] of a crop with the mean colour outside bool `mask` [H, W]."""
    mean, std = _pixel_statistics(encoder, image)
    painted = (image - mean) / std * mask
    if tuple(painted.shape[-2:]) == encoder.image_size:
        return painted
    return F.interpolate(painted[None], encoder.image_size, mode="bicubic", align_corners=True)[0]


def _pixel_statistics(encoder: ImageTextEncoder, image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [3, 1, 1] of pixels in 0..255."""
    mean, std = (
        torch.tensor(values, device=image.device).view(-1, 1, 1) * 255
        for values in (encoder.pixel_mean, encoder.pixel_std)
    )
    return mean, std


def _expand(boxes: Tensor, ratio: float, size: Sequence[int]) -> Tensor:
    """Boxes [N, 4] grown about their centres to whole pixels inside the image."""
    if ratio == 1.0:
        return boxes
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * ratio
    limit = boxes.new_tensor([size[1], size[0]])
    low = (centre - half).floor().clamp(min=0)
    high = torch.minimum((centre + half).ceil(), limit)
    return torch.cat([low, high], dim=1)

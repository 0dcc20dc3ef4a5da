"""How a photo becomes the image that a model is given, and a batch what a backbone reads.

Shapes: H W photo size, h w size at which the model sees it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detectron2.config import CfgNode
from detectron2.data import transforms as T
from freeseg.images import FULL_WHITE, RgbImage, order_channels
from freeseg.inference.input_size import build_resize
from freeseg.structures import Frame, Window


@dataclass(frozen=True)
class PhotoInput:
    """What a model's images are: resized and ordered as the loader of test images does it.

    Attributes:
        resize: Detectron2 augmentation of a uint8 image; None leaves photos as they are.
        image_format: Channels of the image, "RGB" or "BGR".
        white_level: The value of 16-bit photos that is white.
        pixel_mean: Of every channel, 0..255.
        pixel_std: Of every channel.
        size_divisibility: Batches are padded to a multiple; 0 and 1: not.
    """

    resize: Any = None
    image_format: str = "RGB"
    white_level: int = FULL_WHITE
    pixel_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    pixel_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    size_divisibility: int = 0

    def __post_init__(self) -> None:
        if self.image_format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT must be RGB or BGR, got {self.image_format!r}")

    @classmethod
    def from_config(cls, cfg: CfgNode, size_divisibility: int = 0) -> PhotoInput:
        """Reads INPUT and MODEL's pixels.

        Raises:
            ValueError: When INPUT.TEST_RESIZE is no size or no filter.
        """
        return cls(
            build_resize(cfg),
            cfg.INPUT.FORMAT,
            cfg.INPUT.WHITE_LEVEL,
            tuple(cfg.MODEL.PIXEL_MEAN),
            tuple(cfg.MODEL.PIXEL_STD),
            size_divisibility,
        )

    def padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) to which an image of (h, w) is padded when it is alone."""
        step = max(self.size_divisibility, 1)
        return -(-size[0] // step) * step, -(-size[1] // step) * step

    def of_window(self, photo: RgbImage, window: Window) -> tuple[Tensor, Frame]:
        """The image of a part of a photo, RGB [H, W, 3], and how it lies in the photo.

        Raises:
            ValueError: It is too elongated to be resized.
        """
        left, top, right, bottom = window
        image = self(photo[top:bottom, left:right])
        size = (image.shape[-2], image.shape[-1])
        return image, Frame((photo.shape[0], photo.shape[1]), size, size, window)

    def __call__(self, photo: RgbImage) -> Tensor:
        """The image uint8 [3, h, w] of a photo, RGB [H, W, 3].

        Raises:
            ValueError: It is too elongated to be resized.
        """
        inputs = T.AugInput(order_channels(photo, self.image_format))
        if self.resize is not None:
            T.AugmentationList([self.resize])(inputs)
        return torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1)))

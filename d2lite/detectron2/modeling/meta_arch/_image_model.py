"""What all models of images do first: normalise the images and put them in one batch.

Shapes: H W image size.
"""

from __future__ import annotations

import torch
from torch import nn

from detectron2.structures import ImageList


class ImageModel(nn.Module):
    """Holds the backbone and the mean and deviation of pixels, which are not saved."""

    def __init__(self, backbone, pixel_mean, pixel_std):
        super().__init__()
        self.backbone = backbone
        for name, values in (("pixel_mean", pixel_mean), ("pixel_std", pixel_std)):
            self.register_buffer(name, torch.tensor(list(values)).view(-1, 1, 1), persistent=False)
        assert self.pixel_mean.shape == self.pixel_std.shape, (
            f"{pixel_mean} and {pixel_std} have different lengths"
        )

    @property
    def device(self):
        """Where the model is."""
        return self.pixel_mean.device

    def preprocess_image(self, batched_inputs):
        """Return the inputs' images [3, H, W], normalised and padded, as an ImageList."""
        images = [item["image"].to(self.device) for item in batched_inputs]
        return self._pad([(i - self.pixel_mean) / self.pixel_std for i in images], 0.0)

    def _pad(self, tensors, fill):
        return ImageList.from_tensors(
            tensors,
            self.backbone.size_divisibility,
            fill,
            padding_constraints=self.backbone.padding_constraints,
        )

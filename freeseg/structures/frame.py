"""How the pixels that a model saw lie in a photo.

Coordinates are continuous: pixel i of a row covers i to i + 1, whatever the size it is shown at.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Size = tuple[int, int]  # (height, width)


@dataclass(frozen=True)
class Frame:
    """A part of a photo, resized and padded at its right and bottom.

    Attributes:
        photo_size: (height, width) of the photo, and of results.
        model_size: (height, width) to which the window was resized.
        padded_size: (height, width) of what the model saw, padding included.
        window: (left, top, right, bottom), the part of the photo that it saw, in photo pixels.
    """

    photo_size: Size
    model_size: Size
    padded_size: Size
    window: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        if min(*self.photo_size, *self.model_size) < 1:
            raise ValueError(f"sizes must be positive: {self.photo_size}, {self.model_size}")
        if any(model > padded for model, padded in zip(self.model_size, self.padded_size)):
            raise ValueError(f"{self.model_size} does not fit into {self.padded_size}")
        left, top, right, bottom = self.window
        height, width = self.photo_size
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(f"window {self.window} is not in a photo of {self.photo_size}")

    @classmethod
    def of_whole(
        cls, photo_size: Size, model_size: Size | None = None, padded_size: Size | None = None
    ) -> Frame:
        """The whole photo, at its own size where none is given, without padding likewise."""
        model_size = model_size or photo_size
        height, width = photo_size
        return cls(photo_size, model_size, padded_size or model_size, (0, 0, width, height))

    @property
    def is_whole(self) -> bool:
        """Whether the model saw all of the photo."""
        height, width = self.photo_size
        return self.window == (0, 0, width, height)

    @property
    def scale(self) -> tuple[float, float]:
        """(x, y): model pixels per photo pixel."""
        left, top, right, bottom = self.window
        return self.model_size[1] / (right - left), self.model_size[0] / (bottom - top)

    def to_model(self, points: Tensor) -> Tensor:
        """Points [..., 2], (x, y), or boxes [..., 4], xyxy, of the photo in model pixels."""
        offset, scale = self._like(points)
        return (points - offset) * scale

    def to_photo(self, points: Tensor) -> Tensor:
        """Points [..., 2], (x, y), or boxes [..., 4], xyxy, of the model in photo pixels."""
        offset, scale = self._like(points)
        return points / scale + offset

    def padding(self, size: Size | None = None) -> Tensor:
        """Bool [h, w], True where what the model saw is no part of the photo.

        Args:
            size: (h, w) of a feature map of all that it saw; `padded_size` when None. A pixel of
                it counts by its centre.
        """
        rows, columns = (
            (torch.arange(cells) + 0.5) * (padded / cells) >= model
            for cells, padded, model in zip(
                size or self.padded_size, self.padded_size, self.model_size
            )
        )
        return rows[:, None] | columns[None]

    def without_padding(self, maps: Tensor) -> Tensor:
        """The part [..., h, w] of maps [..., H, W] of all that the model saw that shows the photo.

        Pixels that show it in part stay.
        """
        sizes = zip(maps.shape[-2:], self.model_size, self.padded_size)
        height, width = (-(-cells * model // padded) for cells, model, padded in sizes)
        return maps[..., :height, :width]

    def _like(self, points: Tensor) -> tuple[Tensor, Tensor]:
        pairs = points.shape[-1] // 2
        if points.shape[-1] not in (2, 4):
            raise ValueError(f"wanted points [..., 2] or boxes [..., 4], got {tuple(points.shape)}")
        offset = points.new_tensor(self.window[:2], dtype=torch.float32)
        scale = points.new_tensor(self.scale, dtype=torch.float32)
        return offset.repeat(pairs), scale.repeat(pairs)

"""What all prompts of an image share, computed once per image.

Shapes: B images, C channels, h w feature size, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from freeseg.structures.frame import Frame, Size

Self = TypeVar("Self", bound="ImageFeatures")


class _OldCall(type):
    """Lets ``ImageFeatures(levels, mask_features, padded_size, image_sizes)`` mean a pyramid."""

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        if cls is ImageFeatures:
            return PyramidFeatures.of_sizes(*arguments, **named)
        return super().__call__(*arguments, **named)


@dataclass(frozen=True, eq=False)
class ImageFeatures(metaclass=_OldCall):
    """The base of every kind: B images of one padded size, as a system has encoded them.

    Every tensor of a kind has B rows. What is there once per image stands in a tuple of B.

    Attributes:
        frames: How the pixels of each image lie in its photo.
    """

    frames: tuple[Frame, ...]

    def __post_init__(self) -> None:
        rows = {len(tensor) for tensor in self._tensors()}
        if rows - {len(self.frames)}:
            raise ValueError(
                f"features hold batches of {sorted(rows)} images, "
                f"but frames of {len(self.frames)} were given"
            )

    @property
    def batch_size(self) -> int:
        return len(self.frames)

    @property
    def padded_size(self) -> Size:
        """(H, W) of the padded batch, in pixels."""
        return self.frames[0].padded_size

    @property
    def image_sizes(self) -> tuple[Size, ...]:
        """(height, width) of every image inside the padding, in pixels."""
        return tuple(frame.model_size for frame in self.frames)

    @property
    def nbytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.nbytes for tensor in self._tensors())

    def select(self: Self, rows: Sequence[int]) -> Self:
        """Features of some images, which may repeat; of all in their order: themselves."""
        if list(rows) == list(range(self.batch_size)):
            return self
        frames = tuple(self.frames[row] for row in rows)
        return self._mapped(lambda tensor: tensor[list(rows)], frames=frames)

    def to(self: Self, device: torch.device | str) -> Self:
        """On a device."""
        return self._mapped(lambda tensor: tensor.to(device))

    def _tensors(self) -> list[Tensor]:
        found: list[Tensor] = []
        self._mapped(lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
        return found

    def _mapped(self: Self, change: Callable[[Tensor], Tensor], **known: Any) -> Self:
        changed = dict(known)
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Tensor):
                changed[each.name] = change(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Tensor):
                changed[each.name] = tuple(map(change, value))
        copy = object.__new__(type(self))
        copy.__dict__.update({**self.__dict__, **changed})
        return copy


@dataclass(frozen=True, eq=False)
class PyramidFeatures(ImageFeatures):
    """The trunk's kind: what a pixel decoder, or LSeg's head, makes of backbone maps.

    Attributes:
        levels: Feature pyramid, coarse to fine, each [B, C, h, w]; what `LSegHead` needs beside
            the embedding.
        mask_features: Per-pixel embedding at stride 4, [B, C_mask, H/4, W/4].
        pixels: uint8 or float [B, 3, H, W], 0..255, padded: only where crops of them are looked at.
    """

    levels: tuple[Tensor, ...]
    mask_features: Tensor
    pixels: Tensor | None = None

    @classmethod
    def of_sizes(
        cls,
        levels: Sequence[Tensor],
        mask_features: Tensor,
        padded_size: Size,
        image_sizes: Sequence[Size],
    ) -> PyramidFeatures:
        """Of images that are their own photos, as a head knows them.

        Args:
            levels: See above.
            mask_features: See above.
            padded_size: (H, W) of the padded batch.
            image_sizes: (height, width) of every image inside the padding.
        """
        frames = tuple(Frame.of_whole(size, padded_size=padded_size) for size in image_sizes)
        return cls(frames, tuple(levels), mask_features)

    def with_frames(self, frames: Sequence[Frame]) -> PyramidFeatures:
        """The same of images that lie otherwise in their photos."""
        return replace(self, frames=tuple(frames))


def sizes_of(levels: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(height, width) of every map of a pyramid."""
    return [(level.shape[-2], level.shape[-1]) for level in levels]

"""A frame of a clip as a system sees it that follows objects.

Shapes: H W frame size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from freeseg.images import RgbImage


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """A picture of a clip, and the objects that are to be followed from it on.

    Attributes:
        image: uint8 [H, W, 3].
        begins: int64 [H, W], the numbers of objects whose masks are given on this frame, 0
            elsewhere; None where no object begins.
    """

    image: RgbImage
    begins: Tensor | None = None

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        if self.begins is not None and tuple(self.begins.shape) != size:
            raise ValueError(f"the frame is {size}, its masks are {tuple(self.begins.shape)}")

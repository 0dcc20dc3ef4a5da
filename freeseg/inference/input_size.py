"""The size at which a model sees a test image.

Shapes: H W image size, h w size for the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from fvcore.transforms.transform import Transform
from PIL.Image import Resampling

from detectron2.config import CfgNode
from detectron2.data import transforms as T
from freeseg.config import completed


@dataclass(frozen=True)
class InputSize:
    """How a test image is resized; `str` says it.

    Attributes:
        shortest: Of the two sides afterwards; 0 leaves images as they are.
        longest: No side is longer than this.
        fixed: (h, w) whatever the image's shape, in place of both; None: they count.
        divisor: Both sides are stretched to multiples of it; 0: not.
        rounds_down: Parity: the image processors of transformers cut off where Detectron2 rounds.
        as_detr: Parity: likewise, and the long side follows from the rounded short one, as in DETR
            and Grounding DINO.
        resampling: PIL's filter.
        long_side: Of all images, in place of the first two; 0: they count. Parity: SAM's release
            rounds the other side in double precision, half a pixel up.
    """

    shortest: int
    longest: int
    fixed: tuple[int, int] | None = None
    divisor: int = 0
    rounds_down: bool = False
    resampling: Resampling = Resampling.BILINEAR
    long_side: int = 0
    as_detr: bool = False

    @classmethod
    def from_config(cls, cfg: CfgNode) -> InputSize:
        """Reads INPUT.

        Raises:
            ValueError: When INPUT.TEST_RESIZE is no size or no filter.
        """
        node = completed(cfg).INPUT.TEST_RESIZE
        if node.FILTER.upper() not in Resampling.__members__:
            known = ", ".join(name.lower() for name in Resampling.__members__)
            raise ValueError(f"INPUT.TEST_RESIZE.FILTER is one of {known}, got {node.FILTER!r}")
        if len(node.SIZE) not in (0, 2) or not all(side > 0 for side in node.SIZE):
            raise ValueError(f"INPUT.TEST_RESIZE.SIZE is [] or height and width, got {node.SIZE}")
        return cls(
            shortest=cfg.INPUT.MIN_SIZE_TEST,
            longest=cfg.INPUT.MAX_SIZE_TEST,
            fixed=(node.SIZE[0], node.SIZE[1]) if node.SIZE else None,
            divisor=node.DIVISOR,
            rounds_down=node.ROUNDS_DOWN,
            resampling=Resampling[node.FILTER.upper()],
            long_side=node.LONG_SIDE,
            as_detr=node.AS_DETR,
        )

    def __str__(self) -> str:
        if not self.fixed and not self.shortest and not self.long_side:
            return "as it is"
        sides = f"shortest side {self.shortest}, longest at most {self.longest}"
        if self.fixed:
            sides = f"{self.fixed[0]} high, {self.fixed[1]} wide"
        elif self.long_side:
            sides = f"longest side {self.long_side}"
        stretched = f", stretched to multiples of {self.divisor}" if self.divisor > 1 else ""
        return f"{sides}{stretched}, {self.resampling.name.lower()}"

    def of_image(self, height: int, width: int) -> tuple[int, int]:
        """Returns (h, w) of an image of a size."""
        if self.fixed:
            size = self.fixed
        elif self.long_side:
            scale = self.long_side / max(height, width)
            size = int(height * scale + 0.5), int(width * scale + 0.5)
        elif not self.shortest:
            return height, width
        elif self.rounds_down or self.as_detr:
            size = _rounded_down(height, width, self.shortest, self.longest, self.as_detr)
        else:
            size = T.ResizeShortestEdge.get_output_shape(height, width, self.shortest, self.longest)
        step = max(self.divisor, 1)
        return math.ceil(size[0] / step) * step, math.ceil(size[1] / step) * step


class ResizeTestImage(T.Augmentation):
    """Resizes an image to the size that the model is to see it at."""

    def __init__(self, size: InputSize) -> None:
        super().__init__()
        self.size = size

    def get_transform(self, image: npt.NDArray[np.uint8]) -> Transform:
        height, width = image.shape[:2]
        new_height, new_width = self.size.of_image(height, width)
        if (new_height, new_width) == (height, width):
            return T.NoOpTransform()
        return T.ResizeTransform(height, width, new_height, new_width, self.size.resampling)


def _rounded_down(
    height: int, width: int, shortest: int, longest: int, rounds_first: bool
) -> tuple[int, int]:
    """Parity: `get_size_with_aspect_ratio` of transformers, by the same steps in float64.

    The short side is rounded to the nearest even, the long one is cut off, and where the limit of
    the long side decides, it follows from the short side before rounding: 1333 may become 1332.
    With `rounds_first` it follows from the rounded one: 1333 may become 1326.
    """
    short, long = float(min(height, width)), float(max(height, width))
    wanted: float = shortest
    new_short = shortest
    if long / short * shortest > longest:
        wanted = longest * short / long
        new_short = round(wanted)
        wanted = new_short if rounds_first else wanted
    if new_short == short:
        return height, width
    if width < height:
        return int(wanted * height / width), new_short
    return new_short, int(wanted * width / height)


def build_resize(cfg: CfgNode) -> Any:
    """The augmentation of a test image: Detectron2's own where nothing else is asked for."""
    size = InputSize.from_config(cfg)
    has_sides = size.fixed or size.long_side
    is_plain = not (has_sides or size.divisor > 1 or size.rounds_down or size.as_detr)
    if is_plain and size.resampling is Resampling.BILINEAR:
        return T.ResizeShortestEdge([size.shortest, size.shortest], size.longest)
    return ResizeTestImage(size)

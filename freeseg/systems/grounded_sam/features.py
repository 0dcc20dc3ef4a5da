"""What a composed system keeps of an image: what its parts keep, the second when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from freeseg.structures import Frame, ImageFeatures
from freeseg.systems.system import SegmentationSystem


class EncodedTwice:
    """An image as two systems have encoded it, each at the size that it wants."""

    def __init__(
        self,
        image: Tensor,
        frame: Frame,
        grounder: SegmentationSystem[Any],
        segmenter: SegmentationSystem[Any],
    ) -> None:
        """Encodes uint8 RGB [3, h, w] for the first."""
        self._image, self._frame, self._segmenter = image, frame, segmenter
        self._lock = threading.Lock()
        self._segmented: ImageFeatures | None = None
        self.grounded = self._encoded(grounder)

    @property
    def segmented(self) -> ImageFeatures:
        """For the second, encoded at the first call."""
        with self._lock:
            if self._segmented is None:
                self._segmented = self._encoded(self._segmenter)
            return self._segmented

    @property
    def nbytes(self) -> int:
        """Of all that is kept."""
        second = 0 if self._segmented is None else self._segmented.nbytes
        return self._image.nbytes + self.grounded.nbytes + second

    def _encoded(self, system: SegmentationSystem[Any]) -> ImageFeatures:
        photo = self._image.permute(1, 2, 0).cpu().numpy()
        image = system.photo_input(np.ascontiguousarray(photo, dtype=np.uint8))
        frame = Frame.of_whole(self._frame.photo_size, (image.shape[-2], image.shape[-1]))
        found: ImageFeatures = system.encode(system.prepare([image], [frame]))
        return found


@dataclass(frozen=True, eq=False)
class ComposedFeatures(ImageFeatures):
    """Images, each encoded twice.

    Attributes:
        images: Of the batch.
    """

    images: tuple[EncodedTwice, ...]

    @property
    def nbytes(self) -> int:
        """Of all images."""
        return sum(image.nbytes for image in self.images)

    def select(self, rows: Sequence[int]) -> ComposedFeatures:
        """Features of some images, which may repeat; nothing is encoded again."""
        return replace(
            self,
            frames=tuple(self.frames[row] for row in rows),
            images=tuple(self.images[row] for row in rows),
        )

    def to(self, device: torch.device | str) -> ComposedFeatures:
        """Themselves: they lie where their systems do."""
        del device
        return self

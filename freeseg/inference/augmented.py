"""Test-time augmentation of semantic scores: several sizes, mirrored or not.

Shapes: K classes, H W output size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detectron2.data import transforms as T
from freeseg.structures import LABEL_MAP_KEY, refuse_prompt


class AugmentedSemantic(nn.Module):
    """Mean of a model's semantic scores over resized and mirrored copies of the input.

    As in the releases, the copies are made from the input as the test mapper resized it.
    """

    def __init__(
        self, model: nn.Module, *, min_sizes: Sequence[int], max_size: int, flip: bool
    ) -> None:
        """Wraps a model.

        Args:
            model: Keeps Detectron2's contract.
            min_sizes: Short sides of the copies.
            max_size: Largest long side.
            flip: Add a mirrored copy of each.
        """
        super().__init__()
        self.model = model
        self.resizes = [T.ResizeShortestEdge([side, side], max_size) for side in min_sizes]
        self.flip = flip

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``sem_seg`` of every image: [K, H, W], or labels [H, W] where the input asks for them."""
        return [{"sem_seg": self._segment(x)} for x in batched_inputs]

    def _segment(self, x: dict[str, Any]) -> Tensor:
        scores = self._scores(x)
        return scores.argmax(0) if x.get(LABEL_MAP_KEY) else scores

    def _scores(self, x: dict[str, Any]) -> Tensor:
        refuse_prompt(x, "copies of it")
        height, width = x["image"].shape[-2:]
        asked = {"tasks": ("semantic",), LABEL_MAP_KEY: False}
        request = {"height": height, "width": width, **x, **asked}
        scores = [
            self._mirror(self.model([{**request, "image": image}])[0]["sem_seg"], is_mirrored)
            for image, is_mirrored in self._copies(x["image"])
        ]
        return torch.stack(scores).mean(0)

    def _copies(self, image: Tensor) -> Iterator[tuple[Tensor, bool]]:
        pixels = image.permute(1, 2, 0).cpu().numpy()
        for resize in self.resizes:
            resized = resize.get_transform(pixels).apply_image(pixels)
            copy = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)))
            for is_mirrored in (False, True)[: 1 + self.flip]:
                yield self._mirror(copy, is_mirrored), is_mirrored

    @staticmethod
    def _mirror(picture: Tensor, is_mirrored: bool) -> Tensor:
        return picture.flip(-1) if is_mirrored else picture

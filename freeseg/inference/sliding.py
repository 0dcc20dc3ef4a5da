"""Semantic scores of large pictures from overlapping windows (as in SETR, arXiv 2012.15840).

Shapes: K classes, H W input size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from freeseg.inference.resize import crop_and_resize
from freeseg.structures import LABEL_MAP_KEY, refuse_prompt


class SlidingWindow(nn.Module):
    """Answers as the model it wraps, but semantic scores are the mean over windows."""

    def __init__(
        self,
        model: nn.Module,
        *,
        window: Sequence[int],
        stride: Sequence[int],
        tasks: Sequence[str],
    ) -> None:
        """Wraps a model.

        Args:
            model: Keeps Detectron2's contract.
            window: (height, width) in pixels of the input.
            stride: Between windows, down and across, at most the window.
            tasks: Answered when an input names none.
        """
        super().__init__()
        if not all(0 < step <= side for step, side in zip(stride, window)):
            raise ValueError(f"strides {tuple(stride)} must be 1 to the window {tuple(window)}")
        self.model = model
        self.window = tuple(window)
        self.stride = tuple(stride)
        self.tasks = tuple(tasks)

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One result dict per image."""
        return [self._segment(x) for x in batched_inputs]

    def _segment(self, x: dict[str, Any]) -> dict[str, Any]:
        tasks = tuple(x.get("tasks", self.tasks))
        whole = tuple(task for task in tasks if task != "semantic")
        output: dict[str, Any] = self.model([{**x, "tasks": whole}])[0] if whole else {}
        if "semantic" in tasks:
            height, width = x["image"].shape[-2:]
            size = x.get("height", height), x.get("width", width)
            scores = crop_and_resize(self._scores(x), (height, width), size)
            output["sem_seg"] = scores.argmax(0) if x.get(LABEL_MAP_KEY) else scores
        return output

    def _scores(self, x: dict[str, Any]) -> Tensor:
        """[K, H, W]: every pixel's mean over the windows it is in."""
        refuse_prompt(x, "windows")
        image = x["image"]
        total: Tensor | None = None
        count = torch.zeros(image.shape[-2:])
        for top in window_starts(image.shape[-2], self.window[0], self.stride[0]):
            rows = slice(top, top + self.window[0])
            for left in window_starts(image.shape[-1], self.window[1], self.stride[1]):
                columns = slice(left, left + self.window[1])
                part = image[:, rows, columns]
                size = {"height": part.shape[-2], "width": part.shape[-1]}
                asked = {"tasks": ("semantic",), LABEL_MAP_KEY: False}
                request = {**x, **size, **asked, "image": part}
                scores = self.model([request])[0]["sem_seg"]
                if total is None:
                    total = scores.new_zeros(len(scores), *image.shape[-2:])
                total[:, rows, columns] += scores
                count[rows, columns] += 1
        assert total is not None
        return total / count.to(total)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """First pixels of windows that cover `length`; the last one ends with it."""
    last = max(length - window, 0)
    return [*range(0, last, stride), last]

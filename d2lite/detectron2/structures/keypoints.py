"""Annotated keypoints.

Shapes: N instances, K keypoints.
"""

from typing import Any

import numpy as np
import torch


class Keypoints:
    """Keypoints in a float32 tensor [N, K, 3] of x, y and visibility.

    Visibility as in COCO: 0 not labelled (x = y = 0), 1 labelled but hidden, 2 visible.
    """

    def __init__(self, keypoints: torch.Tensor | np.ndarray | list[list[float]]):
        self.tensor = torch.as_tensor(keypoints, dtype=torch.float32)
        assert self.tensor.dim() == 3, self.tensor.shape
        assert self.tensor.shape[2] == 3, self.tensor.shape

    def __len__(self) -> int:
        return len(self.tensor)

    def to(self, *args: Any, **kwargs: Any) -> "Keypoints":
        return type(self)(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> torch.device:
        return self.tensor.device

    def __getitem__(self, item: int | slice | torch.Tensor) -> "Keypoints":
        """Select instances by int (one instance), slice, or integer or bool tensor."""
        return Keypoints(self.tensor[item][None] if isinstance(item, int) else self.tensor[item])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self)})"

    @staticmethod
    def cat(keypoints_list: list["Keypoints"]) -> "Keypoints":
        assert isinstance(keypoints_list, (list, tuple))
        assert len(keypoints_list) > 0
        assert all(isinstance(keypoints, Keypoints) for keypoints in keypoints_list)
        joined = torch.cat([keypoints.tensor for keypoints in keypoints_list], dim=0)
        return type(keypoints_list[0])(joined)

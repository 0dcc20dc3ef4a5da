"""Annotated keypoints, and predicted ones as heatmaps.

Shapes: N instances, K keypoints, S heatmap side.
"""

# `heatmaps_to_keypoints` is scripted when traced: annotations are not postponed
from typing import Any, List, Tuple, Union

import numpy as np
import torch
from torch.nn import functional as F


class Keypoints:
    """Keypoints in a float32 tensor [N, K, 3] of x, y and visibility.

    Visibility as in COCO: 0 not labelled (x = y = 0), 1 labelled but hidden, 2 visible.
    """

    def __init__(self, keypoints: Union[torch.Tensor, np.ndarray, List[List[float]]]):
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

    def to_heatmap(
        self, boxes: torch.Tensor, heatmap_size: int
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Return, per keypoint, the cell of a heatmap over its box, and whether it counts.

        Cells are numbered row by row [N, K], 0 where it does not count; a keypoint counts (1) if it
        is labelled and inside its box [N, 4].
        """
        return _keypoints_to_heatmap(self.tensor, boxes, heatmap_size)

    def __getitem__(self, item: Union[int, slice, torch.Tensor]) -> "Keypoints":
        """Select instances by int (one instance), slice, or integer or bool tensor."""
        return Keypoints(self.tensor[item][None] if isinstance(item, int) else self.tensor[item])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self)})"

    @staticmethod
    def cat(keypoints_list: List["Keypoints"]) -> "Keypoints":
        assert isinstance(keypoints_list, (list, tuple))
        assert len(keypoints_list) > 0
        assert all(isinstance(keypoints, Keypoints) for keypoints in keypoints_list)
        joined = torch.cat([keypoints.tensor for keypoints in keypoints_list], dim=0)
        return type(keypoints_list[0])(joined)


def _keypoints_to_heatmap(
    keypoints: torch.Tensor, rois: torch.Tensor, heatmap_size: int
) -> Tuple[torch.Tensor, torch.Tensor]:
    if rois.numel() == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=rois.device)
        return nothing, nothing.clone()
    start, end = rois[:, None, :2], rois[:, None, 2:]  # [N, 1, 2]
    points, visibility = keypoints[..., :2], keypoints[..., 2]
    cells = ((points - start) * (heatmap_size / (end - start))).floor().long()  # [N, K, 2]
    cells = torch.where(points == end, heatmap_size - 1, cells)  # the far border is in the last
    is_inside = ((cells >= 0) & (cells < heatmap_size)).all(dim=-1)
    valid = (is_inside & (visibility > 0)).long()
    return (cells[..., 1] * heatmap_size + cells[..., 0]) * valid, valid


@torch.jit.script_if_tracing
def heatmaps_to_keypoints(maps: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
    """Return x, y, logit, score [N, K, 4] of the best point of logit maps [N, K, S, S] in boxes.

    Maps are resampled (bicubic) to the whole-pixel size of their box [N, 4]; x, y is a cell's
    centre. The score is a softmax whose sum runs over the map as predicted, so that boxes of
    different sizes compare.
    """
    num_keypoints = maps.shape[1]
    sizes = (rois[:, 2:] - rois[:, :2]).clamp(min=1)
    pixels = sizes.ceil()
    keypoints = maps.new_zeros(rois.shape[0], num_keypoints, 4)
    for i in range(maps.shape[0]):
        height, width = int(pixels[i, 1]), int(pixels[i, 0])
        size = [height, width]
        logits = F.interpolate(maps[i : i + 1], size=size, mode="bicubic", align_corners=False)
        logits = logits.reshape(num_keypoints, height * width)
        best, position = logits.max(dim=1)
        cell = torch.stack([position % width, position // width], dim=1)
        normalizer = (maps[i] - best[:, None, None]).exp().sum((1, 2))
        keypoints[i, :, :2] = (cell + 0.5) * (sizes[i] / pixels[i]) + rois[i, :2]
        keypoints[i, :, 2] = best
        keypoints[i, :, 3] = 1.0 / normalizer
    return keypoints

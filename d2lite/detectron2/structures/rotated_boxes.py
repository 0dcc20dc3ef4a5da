"""Boxes with an angle."""

# scripted: annotations are not postponed
import math
from typing import List, Tuple

import torch
from torch import device  # by this name torchscript finds the type of a property

from detectron2.layers.rotated_boxes import pairwise_iou_rotated
from detectron2.structures.boxes import Boxes


class RotatedBoxes(Boxes):
    """Boxes in a float32 tensor [N, 5] of x centre, y centre, width, height, angle in degrees.

    The box is first upright, width along x and height along y, and then turned about its centre,
    counter-clockwise as seen in the image for a positive angle: (5, 3, 4, 2, 0) has its corners at
    (3, 2) (7, 2) (7, 4) (3, 4); turned by 90 degrees the corner that was top left is at (4, 5).
    Angles differing by 360 are the same box; a turn by 180 covers the same pixels but is another
    box to region pooling.
    """

    def __init__(self, tensor: torch.Tensor):
        if not isinstance(tensor, torch.Tensor):
            tensor = torch.as_tensor(tensor, dtype=torch.float32, device=torch.device("cpu"))
        boxes = tensor.to(torch.float32)
        if boxes.numel() == 0:
            boxes = boxes.reshape((0, 5))
        assert boxes.dim() == 2, boxes.size()
        assert boxes.size(-1) == 5, boxes.size()
        self.tensor = boxes

    def clone(self) -> "RotatedBoxes":
        return RotatedBoxes(self.tensor.clone())

    def to(self, device: torch.device, non_blocking: bool = False):
        return RotatedBoxes(self.tensor.to(device=device, non_blocking=non_blocking))

    def area(self) -> torch.Tensor:
        return self.tensor[:, 2] * self.tensor[:, 3]

    def normalize_angles(self) -> None:
        """Bring angles into [-180, 180)."""
        angle = torch.remainder(self.tensor[:, 4:] + 180.0, 360.0) - 180.0
        self.tensor = torch.cat([self.tensor[:, :4], angle], dim=1)

    def clip(self, box_size: Tuple[int, int], clip_angle_threshold: float = 1.0) -> None:
        """Clip to (height, width), in place, the boxes turned by no more than the threshold.

        There is no one way to clip a turned box, so the others stay; all angles are normalised.
        """
        height, width = box_size
        self.normalize_angles()
        is_upright = self.tensor[:, 4].abs() <= clip_angle_threshold
        center, size = self.tensor[is_upright, :2], self.tensor[is_upright, 2:4]
        limit = torch.tensor([width, height], dtype=torch.float32, device=center.device)
        start = torch.min((center - size / 2).clamp(min=0), limit)
        end = torch.min((center + size / 2).clamp(min=0), limit)
        self.tensor[is_upright, :2] = (start + end) / 2
        self.tensor[is_upright, 2:4] = torch.min(size, end - start)  # never larger by rounding

    def nonempty(self, threshold: float = 0.0) -> torch.Tensor:
        """Return bool [N]: whether both sides are longer than `threshold`."""
        return (self.tensor[:, 2:4] > threshold).all(dim=1)

    def __getitem__(self, item) -> "RotatedBoxes":
        """Select by an int (one box), a slice, or an integer or bool tensor."""
        if isinstance(item, int):
            return RotatedBoxes(self.tensor[item].view(1, -1))
        selected = self.tensor[item]
        assert selected.dim() == 2, (
            f"Indexing on RotatedBoxes with {item} failed to return a matrix!"
        )
        return RotatedBoxes(selected)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return "RotatedBoxes(" + str(self.tensor) + ")"

    def inside_box(self, box_size: Tuple[int, int], boundary_threshold: int = 0) -> torch.Tensor:
        """Return bool [N]: whether the boxes' extents leave (height, width) by less than that."""
        angle = self.tensor[..., 4:] * math.pi / 180.0
        half_size = self.tensor[..., 2:4] / 2.0
        # the half size of the upright box around each
        reach = angle.cos().abs() * half_size + angle.sin().abs() * half_size.flip(-1)
        start, end = self.tensor[..., :2] - reach, self.tensor[..., :2] + reach
        starts_inside = (start >= -boundary_threshold).all(dim=-1)
        ends_inside_x = end[..., 0] < box_size[1] + boundary_threshold
        return starts_inside & ends_inside_x & (end[..., 1] < box_size[0] + boundary_threshold)

    def get_centers(self) -> torch.Tensor:
        """Return the centres [N, 2] as x, y."""
        return self.tensor[:, :2]

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Scale in place.

        Unequal factors make a parallelogram out of a turned box; the result is the rectangle with
        that one's side lengths and the direction of its height.
        """
        angle = self.tensor[:, 4] * math.pi / 180.0
        cos, sin = angle.cos(), angle.sin()
        self.tensor[:, 0] *= scale_x
        self.tensor[:, 1] *= scale_y
        self.tensor[:, 2] *= torch.sqrt((scale_x * cos) ** 2 + (scale_y * sin) ** 2)
        self.tensor[:, 3] *= torch.sqrt((scale_x * sin) ** 2 + (scale_y * cos) ** 2)
        self.tensor[:, 4] = torch.atan2(scale_x * sin, scale_y * cos) * 180 / math.pi

    @classmethod
    def cat(cls, boxes_list: List["RotatedBoxes"]) -> "RotatedBoxes":
        """Join boxes; the result never shares memory with its parts."""
        assert isinstance(boxes_list, (list, tuple))
        if len(boxes_list) == 0:
            return cls(torch.empty(0))
        assert all([isinstance(boxes, RotatedBoxes) for boxes in boxes_list])  # noqa: C419
        return cls(torch.cat([boxes.tensor for boxes in boxes_list], dim=0))

    @property
    def device(self) -> device:
        return self.tensor.device

    @torch.jit.unused
    def __iter__(self):
        """Yield each box as a tensor of 5 numbers."""
        yield from self.tensor


def pairwise_iou(boxes1: RotatedBoxes, boxes2: RotatedBoxes) -> torch.Tensor:
    """Return intersection over union [N, M] of all pairs."""
    return pairwise_iou_rotated(boxes1.tensor, boxes2.tensor)

"""Upright boxes, ways to write a box down, and overlaps between boxes.

Shapes: N M boxes.
"""

# `Boxes` is scripted: torchscript reads the annotations, so they are not postponed
import math
from enum import IntEnum, unique

import numpy as np
import torch
from torch import device  # by this name torchscript finds the type of a property

_RawBoxType = list[float] | tuple[float, ...] | torch.Tensor | np.ndarray


@unique
class BoxMode(IntEnum):
    """How the numbers of a box are meant; the values are part of dataset files."""

    XYXY_ABS = 0  # corners, in pixels
    XYWH_ABS = 1  # one corner and the size, in pixels
    XYXY_REL = 2  # corners, in 0..1 of the image; no conversion exists
    XYWH_REL = 3
    XYWHA_ABS = 4  # centre, size and angle in degrees counter-clockwise

    @staticmethod
    def convert(box: _RawBoxType, from_mode: "BoxMode", to_mode: "BoxMode") -> _RawBoxType:
        """Convert one box (tuple, list) or boxes [N, 4 or 5] (array, tensor), keeping the type."""
        if from_mode == to_mode:
            return box
        is_single = isinstance(box, (list, tuple))
        if is_single:
            assert len(box) in (4, 5), (
                "BoxMode.convert takes either a k-tuple/list or an Nxk array/tensor,"
                " where k == 4 or 5"
            )
        relative = {BoxMode.XYXY_REL, BoxMode.XYWH_REL}
        assert not relative & {from_mode, to_mode}, "Relative mode not yet supported!"
        if (from_mode, to_mode) not in _CONVERSIONS:
            raise NotImplementedError(
                f"Conversion from BoxMode {from_mode} to {to_mode} is not supported yet"
            )
        boxes = torch.tensor(box)[None] if is_single else torch.as_tensor(box)
        converted = _CONVERSIONS[from_mode, to_mode](boxes)
        if is_single:
            return type(box)(converted.flatten().tolist())
        return converted.numpy() if isinstance(box, np.ndarray) else converted


def _corners_to_size(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([boxes[:, :2], boxes[:, 2:4] - boxes[:, :2], boxes[:, 4:]], dim=1)


def _size_to_corners(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([boxes[:, :2], boxes[:, 2:4] + boxes[:, :2], boxes[:, 4:]], dim=1)


def _size_to_rotated(boxes: torch.Tensor) -> torch.Tensor:
    precise = boxes.double()
    center = precise[:, :2] + precise[:, 2:4] / 2
    no_angle = torch.zeros_like(precise[:, :1])
    return torch.cat([center, precise[:, 2:], no_angle], dim=1).to(boxes.dtype)


def _rotated_to_corners(boxes: torch.Tensor) -> torch.Tensor:
    """Return the upright boxes around rotated ones."""
    assert boxes.shape[-1] == 5, "The last dimension of input shape must be 5 for XYWHA format"
    center, size, angle = boxes.double().split([2, 2, 1], dim=1)
    cos, sin = torch.cos(angle * math.pi / 180).abs(), torch.sin(angle * math.pi / 180).abs()
    outer_size = cos * size + sin * size.flip(1)
    start = center - outer_size / 2
    return torch.cat([start, start + outer_size], dim=1).to(boxes.dtype)


_CONVERSIONS = {
    (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS): _corners_to_size,
    (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS): _size_to_corners,
    (BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS): _size_to_rotated,
    (BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS): _rotated_to_corners,
}


class Boxes:
    """Boxes as a float32 tensor [N, 4] of x0, y0, x1, y1; indexed and moved like a tensor."""

    def __init__(self, tensor: torch.Tensor):
        if not isinstance(tensor, torch.Tensor):
            tensor = torch.as_tensor(tensor, dtype=torch.float32, device=torch.device("cpu"))
        boxes = tensor.to(torch.float32)
        if boxes.numel() == 0:
            boxes = boxes.reshape((-1, 4))
        assert boxes.dim() == 2, boxes.size()
        assert boxes.size(-1) == 4, boxes.size()
        self.tensor = boxes

    def clone(self) -> "Boxes":
        return Boxes(self.tensor.clone())

    def to(self, device: torch.device):
        """Move to a device; boxes are always float32."""
        return Boxes(self.tensor.to(device=device))

    def area(self) -> torch.Tensor:
        size = self.tensor[:, 2:] - self.tensor[:, :2]
        return size[:, 0] * size[:, 1]

    def clip(self, box_size: tuple[int, int]) -> None:
        """Limit coordinates, in place, to an image of (height, width)."""
        assert torch.isfinite(self.tensor).all(), "Box tensor contains infinite or NaN!"
        height, width = box_size
        x, y = self.tensor[:, 0::2].clamp(0, width), self.tensor[:, 1::2].clamp(0, height)
        self.tensor = torch.stack([x, y], dim=2).reshape(-1, 4)

    def nonempty(self, threshold: float = 0.0) -> torch.Tensor:
        """Return bool [N]: whether both sides are longer than `threshold`."""
        return (self.tensor[:, 2:] - self.tensor[:, :2] > threshold).all(dim=1)

    def __getitem__(self, item) -> "Boxes":
        """Select by an int (one box), a slice, or an integer or bool tensor."""
        if isinstance(item, int):
            return Boxes(self.tensor[item].view(1, -1))
        selected = self.tensor[item]
        assert selected.dim() == 2, f"Indexing on Boxes with {item} failed to return a matrix!"
        return Boxes(selected)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return "Boxes(" + str(self.tensor) + ")"

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: int = 0) -> torch.Tensor:
        """Return bool [N]: whether boxes leave (height, width) by less than the threshold."""
        height, width = box_size
        starts_inside = (self.tensor[..., :2] >= -boundary_threshold).all(dim=-1)
        ends_inside_x = self.tensor[..., 2] < width + boundary_threshold
        ends_inside_y = self.tensor[..., 3] < height + boundary_threshold
        return starts_inside & ends_inside_x & ends_inside_y

    def get_centers(self) -> torch.Tensor:
        """Return the centres [N, 2] as x, y."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Scale in place."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    @classmethod
    def cat(cls, boxes_list: list["Boxes"]) -> "Boxes":
        """Join boxes; the result never shares memory with its parts."""
        assert isinstance(boxes_list, (list, tuple))
        if len(boxes_list) == 0:
            return cls(torch.empty(0))
        assert all([isinstance(boxes, Boxes) for boxes in boxes_list])  # noqa: C419 (scripted)
        return cls(torch.cat([boxes.tensor for boxes in boxes_list], dim=0))

    @property
    def device(self) -> device:
        return self.tensor.device

    @torch.jit.unused
    def __iter__(self):
        """Yield each box as a tensor of 4 numbers."""
        yield from self.tensor


def pairwise_intersection(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return the area of overlap [N, M] of all pairs."""
    first, second = boxes1.tensor[:, None], boxes2.tensor[None]
    start = torch.max(first[..., :2], second[..., :2])
    end = torch.min(first[..., 2:], second[..., 2:])
    return (end - start).clamp_(min=0).prod(dim=2)  # [N, M]


def pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return intersection over union [N, M] of all pairs; 0 where nothing overlaps."""
    intersection = pairwise_intersection(boxes1, boxes2)
    union = boxes1.area()[:, None] + boxes2.area()[None] - intersection
    return _ratio(intersection, union)


def pairwise_ioa(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return intersection over the area of the second box [N, M]; 0 where nothing overlaps."""
    return _ratio(pairwise_intersection(boxes1, boxes2), boxes2.area()[None])


def _ratio(intersection: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    return torch.where(intersection > 0, intersection / whole, torch.zeros_like(intersection))


def pairwise_point_box_distance(points: torch.Tensor, boxes: Boxes) -> torch.Tensor:
    """Return [N, M, 4]: from points [N, 2] to left, top, right, bottom; positive when inside."""
    after_start = points[:, None] - boxes.tensor[None, :, :2]
    before_end = boxes.tensor[None, :, 2:] - points[:, None]
    return torch.cat([after_start, before_end], dim=2)


def matched_pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> torch.Tensor:
    """Return intersection over union [N] of boxes at the same positions of two lists."""
    assert len(boxes1) == len(boxes2), (
        f"boxes must come in pairs: got {len(boxes1)} and {len(boxes2)}"
    )
    start = torch.max(boxes1.tensor[:, :2], boxes2.tensor[:, :2])
    end = torch.min(boxes1.tensor[:, 2:], boxes2.tensor[:, 2:])
    intersection = (end - start).clamp(min=0).prod(dim=1)
    return intersection / (boxes1.area() + boxes2.area() - intersection)

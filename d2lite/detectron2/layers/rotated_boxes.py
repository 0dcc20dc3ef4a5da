"""Overlap of rotated boxes (x centre, y centre, width, height, degrees counter-clockwise).

Shapes: N M boxes, P = N*M pairs.
"""

# scripted: torchscript reads the annotations, so they are not postponed
import math
from typing import Tuple

import torch


def pairwise_iou_rotated(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """Return the intersection over union [N, M] of all pairs, in the dtype of `boxes1`."""
    ious = boxes1.new_zeros(len(boxes1), len(boxes2))
    if ious.numel() == 0:
        return ious
    pairs_at_once = 1 << 16  # bounds the memory of the corner tables to about 100 MB
    rows = max(1, pairs_at_once // len(boxes2))
    for start in range(0, len(boxes1), rows):
        chunk = boxes1[start : start + rows].double()
        first = chunk.repeat_interleave(len(boxes2), dim=0)  # [P, 5]
        second = boxes2.double().repeat(len(chunk), 1)  # [P, 5]
        ious[start : start + rows] = _paired_iou(first, second).reshape(len(chunk), -1)
    return ious


def _paired_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    area1, area2 = boxes1[:, 2] * boxes1[:, 3], boxes2[:, 2] * boxes2[:, 3]
    intersection = torch.zeros_like(area1)
    reach = torch.hypot(boxes1[:, 2], boxes1[:, 3]) + torch.hypot(boxes2[:, 2], boxes2[:, 3])
    distance = torch.hypot(boxes1[:, 0] - boxes2[:, 0], boxes1[:, 1] - boxes2[:, 1])
    smallest_area = 1e-14
    is_solid = (area1 >= smallest_area) & (area2 >= smallest_area)
    near = torch.nonzero(is_solid & (2 * distance < reach)).flatten()
    if len(near) > 0:
        intersection[near] = _intersection(boxes1[near], boxes2[near])
    # no solid overlap: 0, also where both areas are 0
    return intersection / (area1 + area2 - intersection).clamp(min=smallest_area)


def _intersection(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """Return the area of overlap [P]: a polygon of corners inside the other and edge crossings."""
    offset = boxes2[:, :2] - boxes1[:, :2]  # coordinates are relative to the first centre
    corners1 = _corners(boxes1)
    corners2 = _corners(boxes2) + offset[:, None]  # [P, 4, 2]
    inside1 = _is_inside(corners1 - offset[:, None], boxes2)
    inside2 = _is_inside(corners2, boxes1)  # [P, 4]
    crossings, is_crossing = _edge_crossings(corners1, corners2)
    points = torch.cat([corners1, corners2, crossings], dim=1)  # [P, 24, 2]
    is_vertex = torch.cat([inside1, inside2, is_crossing], dim=1)
    return _convex_area(points, is_vertex)


def _corners(boxes: torch.Tensor) -> torch.Tensor:
    """Return the corners [P, 4, 2] around the origin, in order."""
    angle = boxes[:, 4] * (math.pi / 180.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    half_width = torch.stack([cos, -sin], dim=1) * boxes[:, 2:3] / 2  # image y points down
    half_height = torch.stack([sin, cos], dim=1) * boxes[:, 3:4] / 2
    one, other = half_width + half_height, half_width - half_height
    return torch.stack([one, other, -one, -other], dim=1)


def _is_inside(points: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Whether points [P, 4, 2], relative to the box centre, are inside or on the border."""
    angle = (boxes[:, 4] * (math.pi / 180.0))[:, None]
    cos, sin = torch.cos(angle), torch.sin(angle)
    along_width = points[..., 0] * cos - points[..., 1] * sin
    along_height = points[..., 0] * sin + points[..., 1] * cos
    half_size = boxes[:, None, 2:4] / 2
    slack = 1e-9 * half_size.sum(dim=-1)  # a shared corner counts in spite of rounding
    fits_width = along_width.abs() <= half_size[..., 0] + slack
    return fits_width & (along_height.abs() <= half_size[..., 1] + slack)


def _edge_crossings(
    corners1: torch.Tensor, corners2: torch.Tensor
) -> Tuple[torch.Tensor, torch.Tensor]:
    """Return where the edges' lines cross [P, 16, 2], and whether that is on both edges [P, 16]."""
    edges1 = (corners1.roll(-1, 1) - corners1)[:, :, None]  # [P, 4, 1, 2]
    edges2 = (corners2.roll(-1, 1) - corners2)[:, None]  # [P, 1, 4, 2]
    between = corners2[:, None] - corners1[:, :, None]  # [P, 4, 4, 2]
    denominator = _cross(edges1, edges2)
    is_parallel = denominator.abs() <= 1e-14
    denominator = denominator.masked_fill(is_parallel, 1.0)
    t1 = _cross(between, edges2) / denominator
    t2 = _cross(between, edges1) / denominator
    is_on_both = (t1 >= 0) & (t1 <= 1) & (t2 >= 0) & (t2 <= 1) & ~is_parallel
    points = corners1[:, :, None] + t1[..., None] * edges1
    return points.flatten(1, 2), is_on_both.flatten(1)


def _convex_area(points: torch.Tensor, is_vertex: torch.Tensor) -> torch.Tensor:
    """Return the area of the convex polygon on the marked points, in any order, repeats allowed."""
    weights = is_vertex.to(points.dtype)[..., None]
    center = (points * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)
    points = points - center
    angle = torch.atan2(points[..., 1], points[..., 0]).masked_fill(~is_vertex, math.inf)
    order = angle.argsort(dim=1)
    points = points.gather(1, order[..., None].expand(points.shape))
    # points that do not count sort last; as copies of the first they close the polygon
    points = torch.where(is_vertex.gather(1, order)[..., None], points, points[:, :1])
    has_any = is_vertex.any(dim=1).to(points.dtype)
    return _cross(points, points.roll(-1, 1)).sum(1).abs() / 2 * has_any


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]

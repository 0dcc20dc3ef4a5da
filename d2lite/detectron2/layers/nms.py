"""Greedy non-maximum suppression in torch, per class where classes are given."""

# the free functions may be scripted: annotations are not postponed
import torch

from detectron2.layers.rotated_boxes import pairwise_iou_rotated


def nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return the indices, best score first, of boxes [N, 4] that no better kept box overlaps."""
    classes = torch.zeros_like(scores, dtype=torch.long)
    return _suppress(boxes, scores, classes, iou_threshold)


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """Non-maximum suppression within each class of `idxs`."""
    assert boxes.shape[-1] == 4
    return _suppress(boxes.float(), scores, idxs, iou_threshold)


def nms_rotated(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Non-maximum suppression of rotated boxes [N, 5]; the angle matters only for the overlap."""
    classes = torch.zeros_like(scores, dtype=torch.long)
    return _suppress(boxes, scores, classes, iou_threshold)


def batched_nms_rotated(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """Non-maximum suppression of rotated boxes [N, 5] within each class of `idxs`."""
    assert boxes.shape[-1] == 5
    return _suppress(boxes.float(), scores, idxs, iou_threshold)


def _suppress(
    boxes: torch.Tensor, scores: torch.Tensor, classes: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    order = torch.argsort(scores, descending=True, stable=True)
    covers = _covers(boxes[order], classes[order], iou_threshold)
    # A box is kept if no kept better box covers it. Starting from all, each round settles at least
    # the best unsettled box, in practice all but chains of overlaps; a round without change is it.
    kept = torch.ones_like(order, dtype=torch.bool)
    is_settled = False
    while not is_settled:
        now_kept = ~(covers & kept[:, None]).any(dim=0)
        is_settled = torch.equal(now_kept, kept)
        kept = now_kept
    return order[kept]


def _covers(boxes: torch.Tensor, classes: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return bool [N, N]: whether the first is better, of the same class and overlaps enough."""
    num_boxes = len(boxes)
    covers = torch.zeros(num_boxes, num_boxes, dtype=torch.bool, device=boxes.device)
    rows = max(1, (1 << 22) // max(1, num_boxes))  # bounds the memory of the overlaps
    for start in range(0, num_boxes, rows):
        chunk = boxes[start : start + rows]
        # Parity: an overlap equal to the threshold suppresses rotated boxes, not upright ones
        if boxes.shape[-1] == 5:
            is_overlap = pairwise_iou_rotated(chunk, boxes) >= iou_threshold
        else:
            is_overlap = _pairwise_iou(chunk, boxes) > iou_threshold
        covers[start : start + rows] = is_overlap
    return covers.triu(diagonal=1) & (classes[:, None] == classes)


def _pairwise_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    start = torch.max(boxes1[:, None, :2], boxes2[:, :2])
    size = (torch.min(boxes1[:, None, 2:], boxes2[:, 2:]) - start).clamp(min=0)
    intersection = size[..., 0] * size[..., 1]
    area1 = (boxes1[:, 2] - boxes1[:, 0]) * (boxes1[:, 3] - boxes1[:, 1])
    area2 = (boxes2[:, 2] - boxes2[:, 0]) * (boxes2[:, 3] - boxes2[:, 1])
    return intersection / (area1[:, None] + area2 - intersection)

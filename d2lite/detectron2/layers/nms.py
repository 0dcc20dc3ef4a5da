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
    kept = torch.jit.annotate(list[torch.Tensor], [])
    while len(order) > 0:
        best, rest = order[0], order[1:]
        kept.append(best)
        iou = _overlap(boxes[best], boxes[rest])
        # Parity: an overlap equal to the threshold suppresses rotated boxes, not upright ones
        is_covered = iou >= iou_threshold if boxes.shape[-1] == 5 else iou > iou_threshold
        order = rest[~(is_covered & (classes[rest] == classes[best]))]
    return torch.stack(kept) if len(kept) > 0 else order


def _overlap(box: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the IoU [N] of one box with others."""
    if others.shape[-1] == 5:
        return pairwise_iou_rotated(box[None], others)[0]
    overlap = torch.min(box[2:], others[:, 2:]) - torch.max(box[:2], others[:, :2])
    intersection = overlap.clamp(min=0).prod(dim=1)
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return intersection / (area + areas - intersection)

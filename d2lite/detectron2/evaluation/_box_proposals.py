"""Average recall of class-agnostic box proposals."""

from __future__ import annotations

import torch

from detectron2.structures import Boxes, BoxMode, pairwise_iou

_HUGE = 1e5
AREA_RANGES = {  # name -> side lengths in pixels, both inclusive
    "all": (0, _HUGE),
    "small": (0, 32),
    "medium": (32, 96),
    "large": (96, _HUGE),
    "96-128": (96, 128),
    "128-256": (128, 256),
    "256-512": (256, 512),
    "512-inf": (512, _HUGE),
}


def evaluate_box_proposals(dataset_predictions, coco_api, thresholds=None, area="all", limit=None):
    """Return the recall of ground-truth boxes at several IoU thresholds.

    Args:
        dataset_predictions: dicts with "image_id" and "proposals", an ``Instances`` with
            proposal_boxes and objectness_logits.
        coco_api: ground truth.
        thresholds: IoUs; default 0.5, 0.55 ... 0.95.
        area: only count ground truth in this range of ``AREA_RANGES``.
        limit: use only so many of the best proposals of an image.

    Returns:
        {"ar": mean recall, "recalls", "thresholds", "gt_overlaps": sorted IoU of each
        ground-truth box with the proposal assigned to it, "num_pos": their number}
    """
    assert area in AREA_RANGES, f"unknown area range {area!r}, known: {list(AREA_RANGES)}"
    overlaps = [torch.zeros(0)]
    for prediction in dataset_predictions:
        proposals = prediction["proposals"]
        best_first = proposals.objectness_logits.argsort(descending=True)[:limit]
        gt_boxes = _ground_truth(coco_api, prediction["image_id"], AREA_RANGES[area])
        if len(gt_boxes) and len(proposals):
            iou = pairwise_iou(proposals.proposal_boxes[best_first], gt_boxes)
            overlaps.append(_assign_greedily(iou))
    gt_overlaps = torch.cat(overlaps).sort().values

    if thresholds is None:
        thresholds = torch.arange(0.5, 0.95 + 1e-5, 0.05, dtype=torch.float32)
    hits = (gt_overlaps >= thresholds[:, None]).sum(dim=1).float()
    recalls = hits / len(gt_overlaps)
    return {
        "ar": recalls.mean(),
        "recalls": recalls,
        "thresholds": thresholds,
        "gt_overlaps": gt_overlaps,
        "num_pos": len(gt_overlaps),
    }


def _ground_truth(coco_api, image_id, side_range):
    annotations = coco_api.loadAnns(coco_api.getAnnIds(imgIds=image_id))
    low, high = (side**2 for side in side_range)
    boxes = [
        BoxMode.convert(a["bbox"], BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
        for a in annotations
        if a["iscrowd"] == 0 and low <= a["area"] <= high
    ]
    return Boxes(torch.as_tensor(boxes).reshape(-1, 4))


def _assign_greedily(iou):
    """Give each ground-truth box its best free proposal, best pairs first; return the IoUs.

    Args:
        iou: [proposals, ground truth].
    """
    iou = iou.clone()
    assigned = torch.zeros(iou.shape[1])
    for step in range(min(iou.shape)):
        proposal, target = divmod(int(iou.argmax()), iou.shape[1])
        assigned[step] = iou[proposal, target]
        iou[proposal] = -1
        iou[:, target] = -1
    return assigned

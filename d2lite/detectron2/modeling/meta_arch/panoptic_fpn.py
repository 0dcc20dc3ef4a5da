"""The merging of things and stuff by Panoptic FPN; the network is in the real package.

Shapes: N instances, H W size of the image.
"""

from __future__ import annotations

import torch


def combine_semantic_and_instance_outputs(
    instance_results,
    semantic_results,
    overlap_threshold,
    stuff_area_thresh,
    instances_score_thresh,
):
    """Place instances, best first, each where nothing is yet, then stuff on what is left.

    Args:
        instance_results: Instances with ``scores``, ``pred_classes`` and ``pred_masks`` [N, H, W].
        semantic_results: classes [H, W], where 0 stands for all things.
        overlap_threshold: largest part of an instance that may be taken already.
        stuff_area_thresh: least number of pixels of stuff.
        instances_score_thresh: least score of an instance.

    Returns:
        Segment ids [H, W], 0 where nothing is, and a dict per segment: ``id``, ``isthing`` and
        ``category_id``, with ``score`` and ``instance_id`` of things and ``area`` of stuff.
    """
    panoptic_seg = torch.zeros_like(semantic_results, dtype=torch.int32)
    segments = []

    def add(mask, is_thing, category, **facts):
        panoptic_seg[mask] = len(segments) + 1
        segment = {"id": len(segments) + 1, "isthing": is_thing, "category_id": category}
        segments.append({**segment, **facts})

    scores, masks = instance_results.scores, instance_results.pred_masks.bool()
    for index in scores.argsort(descending=True).tolist():
        mask, score = masks[index].to(panoptic_seg.device), scores[index].item()
        free = mask & (panoptic_seg == 0)
        num_pixels, num_free = mask.sum().item(), free.sum().item()
        if score < instances_score_thresh or num_pixels == 0:
            continue
        if (num_pixels - num_free) / num_pixels <= overlap_threshold:
            category = instance_results.pred_classes[index].item()
            add(free, True, category, score=score, instance_id=index)

    for label in semantic_results.unique().tolist():
        free = (semantic_results == label) & (panoptic_seg == 0)
        area = free.sum().item()
        if label != 0 and area >= stuff_area_thresh:
            add(free, False, label, area=area)
    return panoptic_seg, segments

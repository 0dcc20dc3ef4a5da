"""Choice of proposals among the boxes of all anchors.

Shapes: N images, R anchors of a level, P proposals of an image.
"""

from __future__ import annotations

import math

import torch

from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances

__all__ = ["add_ground_truth_to_proposals", "find_top_rpn_proposals"]

_SURE = math.log((1.0 - 1e-10) / 1e-10)  # objectness logit of a true box


def find_top_rpn_proposals(
    proposals,
    pred_objectness_logits,
    image_sizes,
    nms_thresh,
    pre_nms_topk,
    post_nms_topk,
    min_box_size,
    training,
):
    """Keep the best boxes of every level, drop small and duplicate ones, keep the best of all.

    Args:
        proposals: per level boxes [N, R, 4].
        pred_objectness_logits: per level logits [N, R].
        image_sizes: (height, width) per image.
        nms_thresh: overlap from which boxes of one level are duplicates.
        pre_nms_topk: boxes per level and image before that.
        post_nms_topk: boxes per image after that.
        min_box_size: shortest allowed side in pixels.
        training: boxes that are no numbers are an error then, and dropped otherwise.

    Returns:
        Per image Instances with ``proposal_boxes`` and ``objectness_logits``, best first.
    """
    boxes, logits, levels = [], [], []
    for level, (all_boxes, all_logits) in enumerate(zip(proposals, pred_objectness_logits)):
        top, indices = all_logits.topk(min(all_logits.shape[1], pre_nms_topk), dim=1)
        logits.append(top)
        boxes.append(all_boxes.gather(1, indices[:, :, None].expand(-1, -1, 4)))
        levels.append(torch.full_like(indices[0], level))
    boxes, logits, levels = torch.cat(boxes, 1), torch.cat(logits, 1), torch.cat(levels)

    results = []
    for image_boxes, image_logits, size in zip(boxes, logits, image_sizes):
        is_finite = image_boxes.isfinite().all(dim=1) & image_logits.isfinite()
        if training and not is_finite.all():
            raise FloatingPointError(
                "Predicted boxes or scores contain Inf/NaN. Training has diverged."
            )
        clipped = Boxes(image_boxes.clone())
        clipped.tensor[~is_finite] = 0  # empty, and so dropped
        clipped.clip(size)
        usable = is_finite & clipped.nonempty(threshold=min_box_size)
        clipped, scores = clipped[usable], image_logits[usable]
        keep = batched_nms(clipped.tensor, scores, levels[usable], nms_thresh)[:post_nms_topk]
        result = Instances(size)
        result.proposal_boxes = clipped[keep]
        result.objectness_logits = scores[keep]
        results.append(result)
    return results


def add_ground_truth_to_proposals(gt, proposals):
    """Append the true boxes of every image to its proposals.

    Args:
        gt: per image Instances with ``gt_boxes``, or Boxes.
        proposals: per image Instances with ``proposal_boxes`` and ``objectness_logits``.

    Returns:
        New Instances with the fields of ``proposals``.
    """
    if len(gt) != len(proposals):
        raise ValueError("proposals and gt should have the same length as the number of images!")
    return [
        add_ground_truth_to_proposals_single_image(true, proposed)
        for true, proposed in zip(gt, proposals)
    ]


def add_ground_truth_to_proposals_single_image(gt, proposals):
    """Do what :func:`add_ground_truth_to_proposals` does for one image."""
    fields = {} if isinstance(gt, Boxes) else gt.get_fields()
    true = Instances(proposals.image_size, **fields)
    true.proposal_boxes = gt if isinstance(gt, Boxes) else gt.gt_boxes
    count = len(true.proposal_boxes)
    true.objectness_logits = proposals.objectness_logits.new_full((count,), _SURE)
    for key in proposals.get_fields():
        assert true.has(key), f"the field {key} of the proposals is not in the ground truth"
    return Instances.cat([proposals, true])

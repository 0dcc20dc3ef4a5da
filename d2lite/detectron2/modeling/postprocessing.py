"""Resizing of model outputs to the size that the caller asked for.

Shapes: N instances, C classes, H W padded input size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from detectron2.structures import Instances, ROIMasks


def detector_postprocess(
    results: Instances, output_height: int, output_width: int, mask_threshold: float = 0.5
):
    """Rescale detections from the input size to the output size and drop empty boxes.

    Args:
        results: predictions with ``pred_boxes`` or ``proposal_boxes`` in pixels of
            ``results.image_size``, optional ``pred_masks`` (ROIMasks or [N, 1, M, M]
            probabilities inside the boxes) and ``pred_keypoints``. May be changed in place.
        output_height: height to rescale to.
        output_width: width to rescale to.
        mask_threshold: probability from which a pixel belongs to the mask.

    Returns:
        New Instances of the output size, where ``pred_masks`` is bool [N, height, width].
    """
    if isinstance(output_width, torch.Tensor):  # while tracing
        new_size = torch.stack([output_height, output_width])
    else:
        new_size = (output_height, output_width)
    scale_y = output_height / results.image_size[0]
    scale_x = output_width / results.image_size[1]

    results = Instances(new_size, **results.get_fields())
    names = [name for name in ("pred_boxes", "proposal_boxes") if results.has(name)]
    assert names, "predictions must have pred_boxes or proposal_boxes"
    boxes = results.get(names[0])
    boxes.scale(scale_x, scale_y)
    boxes.clip(results.image_size)
    results = results[boxes.nonempty()]

    if results.has("pred_masks"):
        masks = results.pred_masks
        if not isinstance(masks, ROIMasks):
            masks = ROIMasks(masks[:, 0])
        bitmasks = masks.to_bitmasks(
            results.pred_boxes, output_height, output_width, mask_threshold
        )
        results.pred_masks = bitmasks.tensor
    if results.has("pred_keypoints"):
        results.pred_keypoints[:, :, 0] *= scale_x
        results.pred_keypoints[:, :, 1] *= scale_y
    return results


def sem_seg_postprocess(result, img_size, output_height, output_width):
    """Cut the padding off per-pixel scores and resize them bilinearly.

    Args:
        result: scores [C, H, W] at the padded input size.
        img_size: (height, width) of the image inside.
        output_height: height to resize to.
        output_width: width to resize to.

    Returns:
        Scores [C, output_height, output_width].
    """
    height, width = img_size
    return F.interpolate(
        result[None, :, :height, :width],
        size=(output_height, output_width),
        mode="bilinear",
        align_corners=False,
    )[0]

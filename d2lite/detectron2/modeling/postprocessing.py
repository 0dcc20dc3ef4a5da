"""Resizing of model outputs to the size that the caller asked for.

Shapes: C classes, H W padded input size.
"""

from __future__ import annotations

import torch.nn.functional as F


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

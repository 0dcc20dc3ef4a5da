"""How far a model knows what it sees: one figure per photo, from masks that are there already.

Shapes: Q queries, K classes, h w mask size.
"""

from __future__ import annotations

from torch import Tensor

from freeseg.structures import ImageFeatures


def photo_certainty(class_logits: Tensor, mask_logits: Tensor) -> float:
    """The mean, over pixels, of the best query's class probability times its mask's there.

    This is the score by which panoptic inference chooses a pixel's owner. Photos of another kind
    than a model has learned from are told by it, whatever their segments' own scores
    (tools/measure_doubt.py compares it with others).

    Args:
        class_logits: [Q, K+1], the last column is "no object".
        mask_logits: [Q, h, w], without padding.
    """
    scores = class_logits.float().softmax(-1)[:, :-1].amax(-1)  # [Q]
    best = mask_logits.new_zeros(mask_logits.shape[-2:]).float()  # [h, w]
    for score, logits in zip(scores, mask_logits):  # one at a time: less memory than the masks
        best = best.maximum(score * logits.float().sigmoid())
    return float(best.mean())


def without_padding(mask_logits: Tensor, features: ImageFeatures, index: int) -> Tensor:
    """The part of masks [Q, h, w] that shows image `index`, with pixels that do so in part."""
    sizes = zip(mask_logits.shape[-2:], features.image_sizes[index], features.padded_size)
    height, width = (-(-size * image // padded) for size, image, padded in sizes)
    return mask_logits[:, :height, :width]

"""How far a model knows what it sees: one figure per photo, from masks that are there already.

Shapes: Q queries, K classes, h w mask size.
"""

from __future__ import annotations

import math

from torch import Tensor


def photo_certainty(class_logits: Tensor, mask_logits: Tensor) -> float:
    """The mean, over pixels, of the best query's class probability times its mask's there.

    This is the score by which panoptic inference chooses a pixel's owner. Photos of another kind
    than a model has learned from are told by it, whatever their segments' own scores
    (`freeseg measure-doubt` compares it with others).

    Args:
        class_logits: [Q, K+1], the last column is "no object".
        mask_logits: [Q, h, w], without padding.
    """
    scores = class_logits.float().softmax(-1)[:, :-1].amax(-1)  # [Q]
    best = mask_logits.new_zeros(mask_logits.shape[-2:]).float()  # [h, w]
    for score, logits in zip(scores, mask_logits):  # one at a time: less memory than the masks
        best = best.maximum(score * logits.float().sigmoid())
    return float(best.mean())


def dense_certainty(logits: Tensor, scale: float) -> float:
    """How near pixels are to classes: the energy (arXiv 2010.03759) of their cosines, in [0, 1].

    Of a pixel it is log(mean(exp(scale * cosine))) / scale, which lies between the mean of its
    cosines and the largest, -1 to 1: unlike a probability it tells a pixel that is far from all
    classes from one that is near to several. Half of all that is added to a half.

    Args:
        logits: [K, h, w], cosines times `scale`, without padding.
        scale: What a cosine of 1 has as its logit.
    """
    energy = (logits.float().logsumexp(0) - math.log(len(logits))) / scale  # [h, w]
    return float(0.5 + 0.5 * energy.mean())

"""Who clicks in an evaluation, and how good an answer is.

Shapes: N objects, H W photo size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from freeseg.ops import mask_areas
from freeseg.structures.marks import ABSENT
from freeseg.training.prompts import Clicks, deepest_error_point


def next_click(
    truth: Tensor, predicted: Tensor, ignored: Tensor | None = None, clicked: Tensor | None = None
) -> Clicks:
    """The next click on each object: the deepest pixel of its largest error.

    The protocol of the field (RITM, arXiv 2102.06583), see `deepest_error_point`. The first one,
    after an empty prediction, is SAM's: the pixel of the object that is farthest from its outside.

    Args:
        truth: Bool [N, H, W], each with a pixel that is judged.
        predicted: Bool [N, H, W].
        ignored: Bool [H, W], pixels that are neither right nor wrong; None: none.
        clicked: Bool [N, H, W], pixels that are not clicked again; None: none.

    Returns:
        Signs are `ABSENT` where nothing that could be clicked is wrong.

    Raises:
        ValueError: The masks are of unlike shapes.
    """
    if ignored is not None:
        truth, predicted = truth & ~ignored, predicted & ~ignored
    clicks = deepest_error_point(truth, predicted, clicked)
    wrong = truth ^ predicted
    if clicked is not None:
        wrong &= ~clicked
    is_wrong = mask_areas(wrong) > 0
    return Clicks(
        torch.where(is_wrong[:, None], clicks.points, 0.0),
        torch.where(is_wrong, clicks.signs, ABSENT),
    )


def overlap(truth: Tensor, predicted: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Intersection by union, float64 [N], of the pixels that are judged.

    Args:
        truth: Bool [N, H, W].
        predicted: Bool [N, H, W].
        ignored: Bool [H, W], pixels that are not; None: none.

    Returns:
        1 where both masks are empty.
    """
    shared, covered = truth & predicted, truth | predicted
    if ignored is not None:
        shared, covered = shared & ~ignored, covered & ~ignored
    shared_area, covered_area = mask_areas(shared).double(), mask_areas(covered).double()
    return torch.where(covered_area > 0, shared_area / covered_area.clamp(min=1), 1.0)

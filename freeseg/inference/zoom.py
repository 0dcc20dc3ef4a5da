"""A closer look: every object again, in a part of the photo around it.

Of a photo that is brought to a model's size a small object has few pixels left. As in f-BRS
(Sofiiuk et al., CVPR 2020, "zoom-in"), the part around it is encoded alone, at the model's size.

Shapes: N objects, H W photo size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from freeseg.ops import mask_boxes
from freeseg.structures import InstanceSet, Marks, Prompt, Window
from freeseg.structures.marks import ABSENT, ON

MARGIN = 0.5  # of an object's longer side, on each side
MIN_SIDE = 32  # pixels: a smaller object is looked at as if it were so large

Ask = Callable[[Window, Prompt], InstanceSet]


def zoom(prompt: Prompt, masks: Tensor, ask: Ask, *, margin: float = MARGIN) -> InstanceSet:
    """The answers about all rows of a prompt, each looked at alone and closer.

    A row says what it has said, and its former mask as a rough one; clicks that lie outside of the
    part are left out.

    Args:
        prompt: With marks of N objects.
        masks: Bool [N, H, W], the former answers.
        ask: Answers a prompt of one row about a part of the photo, on the photo's grid.
        margin: Around an object, by its longer side, on each side.

    Raises:
        ValueError: The margin is negative, infinite, or no number.
    """
    if not 0 <= margin < math.inf:
        raise ValueError(f"the margin must be from 0 on, got {margin}")
    assert prompt.marks is not None
    parts = []
    for row in range(len(prompt)):
        window = zoom_window(prompt.marks, row, masks[row], margin)
        parts.append(ask(window, _closer(prompt, row, masks[row], window)))
    return _joined(parts)


def zoom_window(marks: Marks, row: int, mask: Tensor, margin: float) -> Window:
    """The square around an object, as far as it lies in the photo.

    Around its mask, its box and the clicks on it; all of the photo where it has none of these.

    Args:
        marks: Of all objects.
        row: Of the object.
        mask: Bool [H, W], its former answer.
        margin: As of `zoom`.
    """
    height, width = marks.size
    clicks = marks.points[row][marks.signs[row] == ON]
    corners = [clicks, clicks]
    if mask.any():
        corners.append(mask_boxes(mask[None]).cpu().view(2, 2))
    if marks.has_box[row]:
        corners.append(marks.boxes[row].view(2, 2))
    places = torch.cat([each.double() for each in corners])
    if not len(places):
        return (0, 0, width, height)
    (left, top), (right, bottom) = places.amin(0).tolist(), places.amax(0).tolist()
    side = max(right - left, bottom - top, MIN_SIDE) * (1 + 2 * min(margin, height + width))
    x, y = (left + right) / 2, (top + bottom) / 2
    return (
        max(round(x - side / 2), 0),
        max(round(y - side / 2), 0),
        min(round(x + side / 2), width),
        min(round(y + side / 2), height),
    )


def _closer(prompt: Prompt, row: int, mask: Tensor, window: Window) -> Prompt:
    """What one row of a prompt says about a part of the photo."""
    marks, one = prompt.marks, slice(row, row + 1)
    assert marks is not None
    left, top, right, bottom = window
    points = marks.points[one]
    least, most = points.new_tensor([left, top]), points.new_tensor([right, bottom])
    is_inside = ((points >= least) & (points < most)).all(-1)
    near = Marks(
        marks.size,
        points.clamp(least, most),
        torch.where(is_inside, marks.signs[one], ABSENT),
        marks.boxes[one],
        mask[None].cpu() if mask.any() else None,
        None if marks.strokes is None else marks.strokes[one],
    )
    phrases = None if prompt.phrases is None else prompt.phrases[one]
    ids = None if prompt.example_ids is None else prompt.example_ids[one]
    return replace(prompt, marks=near, phrases=phrases, example_ids=ids, logits=None)


def _joined(parts: list[InstanceSet]) -> InstanceSet:
    """One set, whose owners are the rows in their order."""
    found = [part.select(torch.zeros(1, dtype=torch.int64)) for part in parts]
    device = found[0].scores.device
    dense = torch.cat([_dense(part) for part in found])
    qualities = [part.qualities for part in found if part.qualities is not None]
    owners = torch.arange(len(found), device=device)
    return InstanceSet(
        dense,
        mask_boxes(dense),
        None,
        torch.cat([part.scores for part in found]),
        qualities=torch.cat(qualities) if len(qualities) == len(found) else None,
        owners=owners,
        choices=torch.zeros_like(owners),
    )


def _dense(part: InstanceSet) -> Tensor:
    assert isinstance(part.masks, Tensor)
    return part.masks

"""From the four masks of every object to what is asked of them, on the photo's grid.

Shapes: N objects, R results, g side of the grid of patches, H W photo size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.ops import mask_boxes
from freeseg.structures import Frame, InstanceSet
from freeseg.systems.sam.mask_decoder import MANY_PROMPTS, DecodedMasks, choose

THRESHOLD = 0.0  # of logits; above is the object
AT_ONCE = 4  # masks that are enlarged together: one takes 50 MB at 12 megapixels


def photo_logits(mask_logits: Tensor, frame: Frame) -> Tensor:
    """Logits of the window of the photo that the model saw, at the window's size.

    Parity: the release enlarges twice, to the padded square and then what of it shows the photo;
    one step gives other pixels. A step to the size that is there changes no bit, and is left out.

    Args:
        mask_logits: [R, 4g, 4g].
        frame: How the square lies in the photo.
    """
    height, width = frame.model_size
    shown = _resized(mask_logits, frame.padded_size)[..., :height, :width]
    left, top, right, bottom = frame.window
    return _resized(shown, (bottom - top, right - left))


def photo_masks(mask_logits: Tensor, frame: Frame) -> Tensor:
    """Bool [R, H, W] of logits [R, 4g, 4g], False outside the window that the model saw."""
    left, top, right, bottom = frame.window
    size = len(mask_logits), *frame.photo_size
    masks = torch.zeros(size, dtype=torch.bool, device=mask_logits.device)
    for start in range(0, len(masks), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        logits = photo_logits(mask_logits[rows], frame)
        masks[rows, top:bottom, left:right] = logits > THRESHOLD
    return masks


def found_objects(
    decoded: DecodedMasks,
    num_tokens: Tensor,
    frame: Frame,
    *,
    wants_alternatives: bool,
    many_prompts: int = MANY_PROMPTS,
) -> InstanceSet:
    """What N objects are: for each its answer, then its other readings, best first.

    Readings are the three masks of a single prompt; where the answer is the one for several
    prompts, there are three beside it, if there are any at all.

    Args:
        decoded: Of the N objects.
        num_tokens: int64 [N], see `choose`.
        frame: How what the model saw lies in the photo.
        wants_alternatives: False: answers alone.
        many_prompts: As of `choose`; 0: answers alone, too.
    """
    places = _places(decoded.qualities, num_tokens, many_prompts)
    if not (wants_alternatives and many_prompts):
        places = [each for each in places if each[2] == 0]
    owners, numbers, choices = (
        torch.tensor(column, dtype=torch.int64, device=decoded.qualities.device)
        for column in (zip(*places) if places else ((), (), ()))
    )
    mask_logits = decoded.mask_logits[owners, numbers]  # [R, 4g, 4g]
    masks = photo_masks(mask_logits, frame)
    qualities = decoded.qualities[owners, numbers]
    return InstanceSet(
        masks,
        mask_boxes(masks) if len(masks) else qualities.new_zeros(0, 4),
        None,
        qualities.clamp(0, 1),
        qualities=qualities,
        owners=owners,
        choices=choices,
        mask_logits=mask_logits,
    )


def _places(qualities: Tensor, num_tokens: Tensor, many_prompts: int) -> list[tuple[int, int, int]]:
    """(owner, number of the mask, choice) of all results in order."""
    chosen = choose(qualities, num_tokens, many_prompts).tolist()
    ranked = (qualities[:, 1:].argsort(dim=1, descending=True, stable=True) + 1).tolist()
    return [
        (owner, number, choice)
        for owner, (first, rest) in enumerate(zip(chosen, ranked))
        for choice, number in enumerate([first, *(one for one in rest if one != first)])
    ]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]

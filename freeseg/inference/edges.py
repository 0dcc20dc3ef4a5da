"""Edges of a photo: where masks of all that points on a grid hit end (SAM, appendix D.2).

No mask is dropped for its quality. Of each only the strengths on its outline are kept, so that what
is remembered of hundreds of masks takes the memory of a few.

Shapes: P points, K masks of each, N masks, h w size of their logits, H W photo size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.inference.everything import PointedWindow, inclusive
from freeseg.ops import mask_boxes, nms
from freeseg.ops.edges import Strengths, ridges
from freeseg.structures import EverythingSettings


@dataclass(frozen=True, eq=False)
class Outline:
    """Where a mask ends, and how sharply.

    Attributes:
        box: Float [4], xyxy around the mask.
        quality: Float [], the system's own.
        pixels: int64 [L], places in the flattened photo.
        strengths: Float [L].
    """

    box: Tensor
    quality: Tensor
    pixels: Tensor
    strengths: Tensor


def edges_in(window: PointedWindow, settings: EverythingSettings) -> Strengths:
    """Strengths of edges [H, W] in [0, 1], one pixel wide, of a photo that was encoded whole.

    Args:
        window: The whole photo.
        settings: Its grid and its `max_overlap` count; no mask is dropped for anything else.
    """
    outlines = [each for points in window.points(settings) for each in _outlines(window, points)]
    boxes = torch.stack([each.box for each in outlines])
    qualities = torch.stack([each.quality for each in outlines])
    height, width = window.frame.photo_size
    edges = torch.zeros(height * width)
    for number in nms(inclusive(boxes), qualities, settings.max_overlap).tolist():
        pixels = outlines[number].pixels
        edges[pixels] = torch.maximum(edges[pixels], outlines[number].strengths)
    largest = edges.max()
    scaled = edges / largest if largest > 0 else edges
    return ridges(scaled.view(height, width).numpy())


def _outlines(window: PointedWindow, points: Tensor) -> Iterator[Outline]:
    """Those of all masks through points [P, 2]."""
    candidates = window.decode(points)
    qualities = candidates.qualities.flatten().float().cpu()  # [P * K], the order of the logits
    everyone = torch.ones_like(candidates.qualities, dtype=torch.bool)
    numbers = iter(qualities)
    for logits in candidates.logits(everyone):
        for low in logits.split(window.enlarged_at_once()):
            full = window.enlarge(low)
            masks = full > 0
            strengths = slopes(full.sigmoid()).flatten(1)
            outside = outer_boundaries(masks).flatten(1)
            for box, row, is_outside in zip(mask_boxes(masks).cpu(), strengths, outside):
                pixels = is_outside.nonzero()[:, 0]
                yield Outline(box, next(numbers), pixels.cpu(), row[pixels].float().cpu())


def slopes(maps: Tensor) -> Tensor:
    """Length [N, H, W] of Sobel's gradient of maps [N, H, W]; their borders go on as they are."""
    padded = F.pad(maps[:, None].float(), (1, 1, 1, 1), mode="replicate")
    across = padded.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return F.conv2d(padded, torch.stack([across, across.T])[:, None]).norm(dim=1)


def outer_boundaries(masks: Tensor) -> Tensor:
    """Bool [N, H, W]: pixels outside masks [N, H, W] that have one of eight neighbours inside."""
    grown = F.max_pool2d(masks[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    return grown & ~masks

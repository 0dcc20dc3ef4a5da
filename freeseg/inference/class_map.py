"""FreeSeg's post-processing: segments are masks cut to where the class map agrees with them.

Pure functions on tensors. Shapes: Q queries, K classes, N instances, H W image size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from freeseg.inference.assemble import IN_MASK, Thresholds, check_tasks, number_segments
from freeseg.inference.tiled_assembly import best_labels
from freeseg.ops import mask_areas, mask_boxes
from freeseg.structures import InstanceSet, PanopticMap, SegmentationResult, Vocabulary

SHARPNESS = 0.01  # temperature of the class scores, in the release
MAX_COVERED = 0.8  # share of an instance that better ones of its class may cover


@dataclass(frozen=True)
class Proposals:
    """Classified masks, and the class map they vote for.

    Attributes:
        mask_probs: [Q, H, W].
        class_map: int64 [H, W], the semantic winner of every pixel.
        labels: int64 [Q].
        scores: [Q], probability of the label.
        is_sure: Bool [Q], whether the label stands out of the others enough for a thing.
    """

    mask_probs: Tensor
    class_map: Tensor
    labels: Tensor
    scores: Tensor
    is_sure: Tensor


def assemble_by_class_map(
    task: str,
    class_probs: Tensor,
    mask_probs: Tensor,
    vocabulary: Vocabulary,
    thresholds: Thresholds,
) -> SegmentationResult:
    """The result of one task.

    Args:
        task: "semantic", "instance" or "panoptic".
        class_probs: [Q, K], "no object" is already taken off; rows need not sum to 1.
        mask_probs: [Q, H, W].
        vocabulary: The K classes.
        thresholds: What is kept.
    """
    check_tasks([task])
    if task == "semantic":
        scores = torch.einsum("qk,qhw->khw", class_probs, mask_probs)
        return SegmentationResult(semantic=scores)
    scores, labels = class_probs.max(-1)
    is_sure = (class_probs / SHARPNESS).softmax(-1).amax(-1) >= thresholds.min_score
    class_map = best_labels(class_probs, mask_probs)
    proposals = Proposals(mask_probs, class_map, labels, scores, is_sure)
    is_thing = vocabulary.thing_mask(like=class_probs)
    if task == "panoptic":
        return SegmentationResult(panoptic=panoptic(proposals, is_thing, thresholds))
    return SegmentationResult(instances=instances(proposals, is_thing, thresholds))


def panoptic(proposals: Proposals, is_thing: Tensor, thresholds: Thresholds) -> PanopticMap:
    """Paints the masks one over another in their order; stuff of one class is one segment.

    A mask keeps the pixels of its own class. It is dropped when these are less than
    ``min_visible_share`` of it, or when it is a thing whose label does not stand out or is less
    probable than ``min_probability``. Segments that keep less than ``min_area`` are dropped.

    Args:
        proposals: Classified masks.
        is_thing: Bool [K].
        thresholds: What is kept.
    """
    kept, area, is_visible = _own_pixels(proposals, thresholds.min_visible_share)
    is_stuff = ~is_thing[proposals.labels]
    is_probable = proposals.scores >= thresholds.min_probability
    shown = is_visible & (is_stuff | (proposals.is_sure & is_probable))
    segments, number = number_segments(proposals.labels, proposals.scores, area, shown, is_thing)
    segment_ids = torch.zeros(kept.shape[1:], dtype=torch.int32, device=kept.device)
    for query in shown.nonzero()[:, 0].tolist():
        segment_ids[kept[query]] = number[query]
    left = segment_ids.flatten().bincount(minlength=len(segments) + 1).tolist()
    painted = tuple(replace(segment, area=left[segment.id]) for segment in segments)
    return PanopticMap(segment_ids, painted).without_small(max(thresholds.min_area, 1))


def instances(proposals: Proposals, is_thing: Tensor, thresholds: Thresholds) -> InstanceSet:
    """Whole masks of things, scored by class times mean mask probability, best first.

    Args:
        proposals: Classified masks.
        is_thing: Bool [K].
        thresholds: What is kept.
    """
    _, _, is_visible = _own_pixels(proposals, thresholds.min_visible_share)
    keep = is_visible & is_thing[proposals.labels] & proposals.is_sure
    masks = proposals.mask_probs[keep] >= IN_MASK
    labels = proposals.labels[keep]
    quality = (proposals.mask_probs[keep] * masks).flatten(1).sum(1) / mask_areas(masks)
    scores = proposals.scores[keep] * quality
    order = scores.argsort(descending=True, stable=True)
    masks, labels, scores = masks[order], labels[order], scores[order]
    chosen = _without_duplicates(masks, labels)[: thresholds.max_instances]
    masks = masks[chosen]
    return InstanceSet(masks, mask_boxes(masks), labels[chosen], scores[chosen])


def _own_pixels(proposals: Proposals, min_visible_share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of every mask: its pixels of its own class [Q, H, W], their number, whether they suffice."""
    inside = proposals.mask_probs >= IN_MASK
    kept = inside & (proposals.class_map == proposals.labels[:, None, None])
    original, area = mask_areas(inside), mask_areas(kept)
    return kept, area, (area > 0) & (area >= min_visible_share * original)


def _without_duplicates(masks: Tensor, labels: Tensor) -> list[int]:
    """Indices of the masks that others of their class do not cover, the worst looked at first."""
    left = list(range(len(masks)))
    areas = mask_areas(masks).tolist()
    for index in reversed(range(len(masks))):
        others = [i for i in left if i != index and labels[i] == labels[index]]
        if others:
            covered = int((masks[others].any(0) & masks[index]).sum())
            if covered > MAX_COVERED * areas[index]:
                left.remove(index)
    return left

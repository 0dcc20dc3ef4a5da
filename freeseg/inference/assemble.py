"""From classified masks to the semantic, instance and panoptic segmentation of one image.

Pure functions on tensors. Shapes: Q queries, K classes, N instances, H W output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from freeseg.ops import mask_areas, mask_boxes
from freeseg.structures import (
    InstanceSet,
    PanopticMap,
    Segment,
    SegmentationResult,
    SemanticMap,
    Vocabulary,
    read_tasks,
)

IN_MASK = 0.5  # least probability of a pixel inside a mask


@dataclass(frozen=True)
class Thresholds:
    """What the post-processing keeps.

    Attributes:
        min_score: A panoptic segment's class probability must be above it.
        min_visible_share: Least share of a panoptic segment's mask that other segments leave it.
        max_instances: Instances kept per image, before stuff is dropped.
        min_probability: Of a panoptic thing's class where `min_score` is of sharpened ones.
        min_area: Pixels of a panoptic segment, least.
    """

    min_score: float
    min_visible_share: float
    max_instances: int
    min_probability: float = 0.0
    min_area: int = 0


def assemble(
    tasks: Sequence[str],
    class_logits: Tensor,
    mask_logits: Tensor,
    vocabulary: Vocabulary,
    thresholds: Thresholds,
) -> SegmentationResult:
    """Computes exactly the tasks asked for.

    Args:
        tasks: Of a class list.
        class_logits: [Q, K+1], the last column is "no object".
        mask_logits: [Q, H, W] at output size.
        vocabulary: The K classes.
        thresholds: What is kept.

    Raises:
        ValueError: On an unknown task.
    """
    tasks = read_tasks(tasks)
    class_probs, mask_probs = class_logits.softmax(-1), mask_logits.sigmoid()
    is_thing = vocabulary.thing_mask(like=class_logits)
    return SegmentationResult(
        semantic=(
            SemanticMap(scores=semantic_scores(class_probs, mask_probs))
            if "semantic" in tasks
            else None
        ),
        instances=(
            instances(class_probs, mask_logits, mask_probs, is_thing, thresholds.max_instances)
            if "instance" in tasks
            else None
        ),
        panoptic=(
            panoptic(
                class_probs,
                mask_probs,
                is_thing,
                thresholds.min_score,
                thresholds.min_visible_share,
            ).without_small(thresholds.min_area)
            if "panoptic" in tasks
            else None
        ),
    )


def semantic_scores(class_probs: Tensor, mask_probs: Tensor) -> Tensor:
    """Class scores [K, H, W]: masks weighted by class probability (MaskFormer, section 3.4)."""
    return torch.einsum("qk,qhw->khw", class_probs[:, :-1], mask_probs)


def panoptic(
    class_probs: Tensor,
    mask_probs: Tensor,
    is_thing: Tensor,
    min_score: float,
    min_visible_share: float,
) -> PanopticMap:
    """Gives every pixel to the most probable confident mask (MaskFormer, section 3.4).

    A pixel whose best mask is below one half there stays unassigned, and so does the whole of a
    mask that keeps less than `min_visible_share` of itself. Stuff of one class is one segment.

    Args:
        class_probs: [Q, K+1].
        mask_probs: [Q, H, W].
        is_thing: Bool [K].
        min_score: Class probability a query must exceed.
        min_visible_share: Kept over original area, least.
    """
    queries, scores, labels = confident_queries(class_probs, min_score)
    mask_probs = mask_probs[queries]
    segment_ids = torch.zeros(mask_probs.shape[1:], dtype=torch.int32, device=mask_probs.device)
    if not len(labels):
        return PanopticMap(segment_ids, ())

    winner = (scores[:, None, None] * mask_probs).argmax(0)  # [H, W]
    is_inside = mask_probs.gather(0, winner[None])[0] >= IN_MASK  # [H, W]
    won = winner.flatten().bincount(minlength=len(labels))
    original = mask_areas(mask_probs >= IN_MASK)
    area = winner[is_inside].bincount(minlength=len(labels))
    shown = (area > 0) & (won >= min_visible_share * original)
    segments, segment_of_query = number_segments(labels, scores, area, shown, is_thing)
    segment_ids[is_inside] = segment_of_query[winner[is_inside]]
    return PanopticMap(segment_ids, segments)


def confident_queries(class_probs: Tensor, min_score: float) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [P] that are an object with more than `min_score`, their scores and labels."""
    scores, labels = class_probs.max(-1)
    queries = ((labels < class_probs.shape[1] - 1) & (scores > min_score)).nonzero()[:, 0]
    return queries, scores[queries], labels[queries]


def number_segments(
    labels: Tensor, scores: Tensor, area: Tensor, shown: Tensor, is_thing: Tensor
) -> tuple[tuple[Segment, ...], Tensor]:
    """Numbers shown queries from 1 in their order, stuff of one class as one.

    Returns:
        The segments, and int32 [Q] the segment of every query, 0 for none.
    """
    segments: list[Segment] = []
    number_of_stuff: dict[int, int] = {}
    segment_of_query = torch.zeros(len(labels), dtype=torch.int32)
    things = is_thing.tolist()
    rows = zip(labels.tolist(), scores.tolist(), area.tolist(), shown.tolist())
    for query, (label, score, pixels, is_shown) in enumerate(rows):
        if not is_shown:
            continue
        known = number_of_stuff.get(label)
        if known is None:
            segments.append(Segment(len(segments) + 1, label, things[label], score, pixels))
            segment_of_query[query] = len(segments)
            if not things[label]:
                number_of_stuff[label] = len(segments)
        else:
            old = segments[known - 1]
            segments[known - 1] = Segment(
                known, label, False, max(old.score, score), old.area + pixels
            )
            segment_of_query[query] = known
    return tuple(segments), segment_of_query.to(labels.device)


def instances(
    class_probs: Tensor,
    mask_logits: Tensor,
    mask_probs: Tensor,
    is_thing: Tensor,
    max_instances: int,
) -> InstanceSet:
    """The best (query, class) pairs, scored by class probability times mask quality.

    Mask quality is the mean probability inside the mask. The best `max_instances` pairs are taken
    over all classes first and stuff is dropped from them afterwards, as the releases do.

    Args:
        class_probs: [Q, K+1].
        mask_logits: [Q, H, W]; a mask is where they are positive.
        mask_probs: [Q, H, W].
        is_thing: Bool [K].
        max_instances: Pairs taken.
    """
    scores, queries, labels = best_pairs(class_probs, is_thing, max_instances)
    used, row = queries.unique(return_inverse=True)  # a query may appear with several classes
    masks = mask_logits[used] > 0
    mass = (mask_probs[used] * masks).flatten(1).sum(1)
    order, scores = ranked_instances(scores, mass, mask_areas(masks), row)
    row = row[order]
    return InstanceSet(masks[row], mask_boxes(masks)[row], labels[order], scores)


def best_pairs(
    class_probs: Tensor, is_thing: Tensor, max_instances: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, queries and labels [N] of the best pairs of a query and a class, things alone."""
    pair_scores = class_probs[:, :-1].flatten()  # [Q * K]
    scores, pairs = pair_scores.topk(min(max_instances, len(pair_scores)))
    num_classes = class_probs.shape[1] - 1
    queries = torch.div(pairs, num_classes, rounding_mode="floor")
    labels = pairs % num_classes
    keep = is_thing[labels]
    return scores[keep], queries[keep], labels[keep]


def ranked_instances(
    scores: Tensor, mass: Tensor, area: Tensor, row: Tensor
) -> tuple[Tensor, Tensor]:
    """The order of N pairs by class score times mask quality, and these products in that order.

    Args:
        scores: Of the classes, [N].
        mass: Sum of the probabilities inside each mask, [P].
        area: Pixels of each mask, [P].
        row: int64 [N], the mask of every pair.
    """
    scores = scores * (mass / (area + 1e-6))[row]
    order = scores.argsort(descending=True, stable=True)
    return order, scores[order]
